"""A line of the log, whatever a bank, a cloud or a library says."""

import json
import logging
import sys

from hypothesis import given
from hypothesis import strategies as st

from restore_worker.facts import about
from restore_worker.logs import Formatter
from restore_worker.settings import LogForm

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
# Fields of a record have names that Python could have; none that every record has anyway.
FIELDS = st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), TEXTS | st.integers() | st.lists(TEXTS))


def line(form, message, fields=None, exc_info=None):
    record = logging.getLogger("some.library").makeRecord(
        "some.library", logging.WARNING, __file__, 0, "%s", (message,), exc_info, extra=fields
    )
    record.created = 1764460800.25
    return Formatter(form).format(record)


@given(TEXTS, FIELDS)
def test_json_says_all_that_the_record_does(message, fields):
    told = json.loads(line(LogForm.JSON, message, fields))
    assert told == {
        "timestamp": "2025-11-30T00:00:00.250000Z",
        "level": "warning",
        "logger": "some.library",
        "event": "some.library",
        "message": message,
        **fields,
    }


@given(TEXTS, FIELDS)
def test_the_console_has_one_line_that_steers_no_terminal(message, fields):
    told = line(LogForm.CONSOLE, message, fields)
    assert told.isprintable()
    assert told.startswith("2025-11-30T00:00:00.250000Z [warning] ")
    assert all(f"{name}=" in told for name in fields)


def test_a_value_with_blanks_is_quoted_and_another_one_is_not():
    told = line(
        LogForm.CONSOLE, "no answer", {"title": "web 1", "resource": "6a1c", "seconds": 3, "reason": "it's"}
    )
    assert told.endswith("""no answer [some.library] reason="it's" resource=6a1c seconds=3 title='web 1'""")


def test_a_fact_is_the_event_and_what_it_is_about_is_told():
    before = about.set({"restore": "cc27", "resource": "6a1c"})
    try:
        told = json.loads(line(LogForm.JSON, "volume data: done", {"fact": "resource.done", "resource": "6a1d"}))
    finally:
        about.reset(before)
    assert told["event"] == "resource.done"
    assert "fact" not in told
    # What the record says itself is nearer to it.
    assert (told["restore"], told["resource"]) == ("cc27", "6a1d")


def test_no_field_takes_the_place_of_what_each_line_has():
    forged = dict.fromkeys(("level", "timestamp", "logger", "exception", "stack"), "\x1b[2J")
    for form in LogForm:
        assert line(form, "no answer", forged) == line(form, "no answer")


def test_what_json_does_not_know_is_told_as_python_writes_it():
    assert json.loads(line(LogForm.JSON, "no answer", {"ids": {1}}))["ids"] == "{1}"


def caught(text):
    try:
        int(text)
    except ValueError:
        return sys.exc_info()


def test_a_traceback_is_a_field_in_json_and_stands_below_its_line_on_the_console():
    error = caught("broken")
    first, *trace = line(LogForm.CONSOLE, "its plugin broke", exc_info=error).splitlines()
    assert first.endswith("its plugin broke [some.library]")
    assert trace[0] == "  Traceback (most recent call last):"
    assert trace[-1] == "  ValueError: invalid literal for int() with base 10: 'broken'"
    told = json.loads(line(LogForm.JSON, "its plugin broke", exc_info=error))["exception"]
    assert [f"  {each}" for each in told.splitlines()] == trace


def test_an_error_steers_no_terminal_and_makes_no_line_of_its_own():
    try:
        raise OSError("\x1b[2J\n2026-01-01 [info] forged")  # noqa: TRY301 - what a bank says
    except OSError:
        told = line(LogForm.CONSOLE, "its plugin broke", exc_info=sys.exc_info())
    assert "\x1b" not in told
    assert all(each.startswith("  ") for each in told.splitlines()[1:])
