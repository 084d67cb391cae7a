"""Texts, data and fragments for tests of templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from restore_worker.hot import Hot, assemble
from restore_worker.template import Fragment, HeatParameter, HeatResource, HeatTemplate
from tests.support.judge import function_names

# What YAML readers take for something else, or for nothing, unless it is quoted.
WORDS = """
y Y yes Yes YES n N no on ON off true TRUE false null Null NULL none None inf nan
~ = << 1 -1 +1 0 012 0o14 0x1F 0b11 1_000 1e3 1.5 1. .5 -.5e-3 .inf -.INF .nan NaN 1:30 190:20:30
2016-10-14 2020-03-05T02:00:07Z 0.9 get_resource {} [] [a] *a &a !a !!str | > % @ ` -- --- ... ' " \\ \\n
- ? : a: # _ a- a.b/c OS::Nova::Server \x00 \x07 \x1b[0m \x7f \x80 \ufeff \ufeffa \ufffe \uffff \U0001f600 \U0010ffff é 日本
"""
TRICKY = [
    *WORDS.split(),
    *("", " ", " a", "a ", "a: b", "a #b", "# a", "- a", "? a", ": a", "{a: b}", "2020-03-05 02:00:07 +1"),
    *("\n", "a\n", "\na", "a\n\nb", "\t", "a\tb", "\r", "\r\n", "\x85", "\xa0", "\u2028", "\u2029"),
    *("a" * 300, "a b " * 100, "a  b" * 60, "x" * 109 + " y", "é " * 200),
]
TEXTS = st.sampled_from(TRICKY) | st.text()
# What JSON can say, function calls of Heat included.
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


def volume(**properties: Any) -> HeatResource:
    """Return a volume of 1 GiB."""
    return HeatResource("OS::Cinder::Volume", {"size": 1, **properties})


def template_of(fragments: Mapping[str, Fragment]) -> HeatTemplate:
    """Return a template into which each fragment was put, by original id."""
    template = HeatTemplate()
    for original_id, fragment in fragments.items():
        if isinstance(fragment, HeatParameter):
            template.put_parameter(original_id, fragment)
        else:
            template.put_resource(original_id, fragment)
    return template


def hot_of(fragments: Mapping[str, Fragment], description: str = "d") -> Hot | None:
    """Put the fragments and assemble them into one template."""
    return next(iter(assemble(template_of(fragments).fragments, description)), None)


def without_nulls(data: Any) -> Any:
    """Return data as a template carries it."""
    if isinstance(data, dict):
        return {key: without_nulls(value) for key, value in data.items() if value is not None}
    if isinstance(data, list):
        return [without_nulls(value) for value in data if value is not None]
    return data


def is_function_call(data: Any) -> bool:
    """Say whether Heat would call a function somewhere in the data."""
    if isinstance(data, dict):
        plain = without_nulls(data)
        return (len(plain) == 1 and next(iter(plain)) in function_names()) or any(
            map(is_function_call, data.values())
        )
    return isinstance(data, list) and any(map(is_function_call, data))
