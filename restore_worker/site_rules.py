"""Rules of a site map for one kind of thing, and which of them speaks.

The most specific one that speaks wins: a rule on a resource's id, then other rules (patterns and conditions),
then ``map`` (exact values), then ``default``; among equals the first in the file. Patterns are Python's regular
expressions, and must match the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from restore_worker.marked_yaml import Keys
from restore_worker.resource import Resource


def _pattern(text: Any) -> Any:
    try:
        return re.compile(text, re.DOTALL) if isinstance(text, str) else text
    except re.error as error:
        raise _error(f"the pattern is broken: {error}") from None


def _error(message: str) -> PydanticCustomError:
    return PydanticCustomError("site_map", "{message}", {"message": message})


Name = Annotated[str, Field(min_length=1, max_length=4096)]
Pattern = Annotated[re.Pattern[str], BeforeValidator(_pattern)]
_ANYTHING = re.compile(".*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rule may look at.

    values: what the thing is called: its value, then other names of it; none if the bank does not tell.
    """

    resource: Resource
    values: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


class Spoken(NamedTuple):
    """What a section says of a subject, and which of its entries says so."""

    value: str
    entry: Keys


class Entry(BaseModel):
    """Base of what a site map consists of: strict and frozen, unknown keys are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Condition(Entry):
    """Which resources a rule is for: all that is given must hold.

    type: the resource's type, such as OS::Nova::Server.
    name: a pattern for the resource's name.
    id: the resource's original id; such a rule goes before all others.
    property: patterns by name of a property, such as availability_zone or size.
    """

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    type: Name | None = None
    name: Pattern | None = None
    id: Name | None = None
    property: dict[str, Pattern] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise _error("it has no condition: give type, name, id or property, or leave it out")
        return self

    def holds(self, subject: Subject) -> bool:
        """Say whether the rule is for the subject."""
        resource, known = subject.resource, {**subject.resource.extra_info, **subject.properties}
        return (
            self.type in (None, resource.type)
            and self.id in (None, resource.id)
            and (self.name is None or bool(self.name.fullmatch(resource.name)))
            and all(
                name in known and pattern.fullmatch(str(known[name])) for name, pattern in self.property.items()
            )
        )


class Rule(Entry):
    r"""One rule; ``when``, ``value`` or both say what it is for.

    when: which resources.
    value: a pattern for the old value, perhaps with groups in parentheses.
    to: the new value; \1, or \g<name> of a named group (?P<name>...), is what a group of the pattern matched,
        and \g<0> the whole old value.
    """

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["when"]}, {"required": ["value"]}]})

    when: Condition | None = None
    value: Pattern | None = None
    to: Name

    @model_validator(mode="after")
    def _can_be_applied(self) -> Self:
        if self.when is None and self.value is None:
            raise _error("it is for everything: give `when` or `value`, or write it as `default`")
        try:
            (self.value or _ANYTHING).sub(self.to, "")
        except (re.error, IndexError) as error:
            raise _error(f"`to` refers to what `value` does not capture: {error}") from None
        return self

    def speak(self, subject: Subject) -> str | None:
        """Return the new value; None if the rule is not for the subject."""
        if self.when is not None and not self.when.holds(subject):
            return None
        if self.value is None and not subject.values:
            return self.to
        matches = ((self.value or _ANYTHING).fullmatch(each) for each in subject.values)
        return next((match.expand(self.to) for match in matches if match), None)


class Section(Entry):
    """What becomes of one kind of thing.

    map: new values by exact old value.
    rules: looked at in their order, before map.
    default: for what nothing else speaks of.
    """

    map: dict[Name, Name] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = Field(default=(), strict=False)
    default: Name | None = None

    def speak(self, subject: Subject) -> Spoken | None:
        """Return what the most specific entry says that speaks of the subject; None if none does."""
        return next((spoken for spoken in self._speakers(subject) if spoken.value), None)

    def _speakers(self, subject: Subject) -> Iterator[Spoken]:
        by_id = [bool(rule.when and rule.when.id) for rule in self.rules]
        for wanted in (True, False):
            for place, rule in enumerate(self.rules):
                if by_id[place] is wanted and (value := rule.speak(subject)) is not None:
                    yield Spoken(value, ("rules", place))
        for each in subject.values:
            if each in self.map:
                yield Spoken(self.map[each], ("map", each))
        if self.default is not None:
            yield Spoken(self.default, ("default",))
