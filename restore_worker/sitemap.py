"""The site map: what things are called on another site, as a file of rules that people write.

One section a kind of thing. Where nothing in it speaks, its ``policy`` says what to do, and without a policy all
is as without a map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PrivateAttr, ValidationError
from pydantic_core import ErrorDetails

from restore_worker.errors import SiteMapError, printable
from restore_worker.marked_yaml import Document, Keys, dotted, read_yaml
from restore_worker.site_rules import Entry, Name, Section, Spoken, Subject

# How the networks were given that are in no file.
GIVEN = "--network"
# Errors that are told at once.
_TOLD = 20
# What pydantic says in words of Python.
_MESSAGES = {
    "dict_type": "it must be a mapping, with keys",
    "extra_forbidden": "there is no such key",
    "int_type": "it must be a whole number",
    "missing": "it is missing",
    "model_type": "it must be a mapping, with keys",
    "string_pattern_mismatch": "it is no OpenSSH public key, such as `ssh-ed25519 AAAA... comment` in one line",
    "string_too_short": "the text is empty",
    "string_type": "it must be a text",
    "tuple_type": "it must be a list",
}


# As in a file id_ed25519.pub: whatever else is pasted there, a private key above all, is not taken.
PUBLIC_KEY = r"^(ssh|ecdsa|sk)-[a-z0-9@.-]+ AAAA[A-Za-z0-9+/]+=*( [^\r\n]*)?$"
PublicKey = Annotated[str, Field(pattern=PUBLIC_KEY)]


class FlavorSection(Section):
    """Flavors, by id or by name if it is known.

    policy: where nothing speaks: the same, the nearest of the target (the smallest that has as many vCPUs, as much
        RAM and disk), or a problem.
    """

    policy: Literal["same", "nearest", "fail"] | None = None


class PlaceSection(Section):
    """Volume types or availability zones.

    policy: where nothing speaks: the target's default, the same name, or a problem.
    """

    policy: Literal["default", "same", "fail"] | None = None


class KeyPairSection(Section):
    """Key pairs, by name.

    policy: where nothing speaks: a problem (map), a new one of the public key given here (create), or none (drop).
    public_keys: by name of a key pair, for create.
    """

    policy: Literal["map", "create", "drop"] | None = None
    public_keys: dict[Name, PublicKey] = Field(default_factory=dict)


class ProjectSection(Entry):
    """Projects whose checkpoints may be restored to another one.

    map: ids of the target's project by id of the checkpoint's.
    """

    map: dict[Name, Name] = Field(default_factory=dict)


F = TypeVar("F", bound=Any)


class AddressPolicy(Entry):
    """Fixed addresses or MACs of ports: kept, new ones, or whichever fits."""

    policy: Literal["keep", "new", "auto"]


class FloatingIpPolicy(Entry):
    """Floating IPs: those that exist, new ones, or none."""

    policy: Literal["existing", "new", "skip"]


class Shape(Entry):
    """What a flavor of the source has; disk in GiB, RAM in MiB."""

    name: Name | None = None
    vcpus: Annotated[int, Field(ge=1)]
    ram: Annotated[int, Field(ge=1)]
    disk: Annotated[int, Field(ge=0)]

    def nearest(self, known: Iterable[F]) -> F | None:
        """Return the smallest flavor that has all that this one has, None if there is none.

        The smallest is the one that exceeds it least, in proportion, all three together.
        """

        def excess(flavor: F) -> tuple[float, str]:
            return flavor.vcpus / self.vcpus + flavor.ram / self.ram + flavor.disk / max(self.disk, 1), flavor.name

        holding = (
            each
            for each in known
            if each.vcpus >= self.vcpus
            and each.ram >= self.ram
            and each.disk >= self.disk
            and not each.is_disabled
        )
        return min(holding, key=excess, default=None)


class Source(Entry):
    """What no API of a lost cloud can tell any more.

    flavors: by id.
    backups: records of Cinder backups by id, as `openstack volume backup record export` tells them.
    """

    flavors: dict[Name, Shape] = Field(default_factory=dict)
    backups: dict[Name, Annotated[str, Field(min_length=1, max_length=65536)]] = Field(default_factory=dict)


Kind = Literal[
    "flavor",
    "volume_type",
    "zone",
    "network",
    "subnet",
    "image",
    "key_pair",
    "security_group",
    "server_group",
    "name",
]
PolicyKind = Literal["flavor", "volume_type", "zone", "key_pair", "fixed_ips", "macs", "floating_ips"]


class SiteMap(Entry):
    """A whole site map; an empty one says nothing.

    schema_url: for editors alone.
    """

    schema_url: str | None = Field(default=None, alias="$schema")
    flavor: FlavorSection = FlavorSection()
    volume_type: PlaceSection = PlaceSection()
    zone: PlaceSection = PlaceSection()
    network: Section = Section()
    subnet: Section = Section()
    image: Section = Section()
    key_pair: KeyPairSection = KeyPairSection()
    security_group: Section = Section()
    server_group: Section = Section()
    project: ProjectSection = ProjectSection()
    name: Section = Section()
    fixed_ips: AddressPolicy | None = None
    macs: AddressPolicy | None = None
    floating_ips: FloatingIpPolicy | None = None
    source: Source = Source()

    # Networks of the target by id or name of the checkpoint's, as somebody gave them beside the file.
    _networks: Mapping[str, str] = PrivateAttr(default_factory=dict)
    # Where it was read, and its lines.
    _file: str = PrivateAttr(default="")
    _document: Document | None = PrivateAttr(default=None)

    def speak(self, kind: Kind, subject: Subject) -> Spoken | None:
        """Return what the section of a kind says of a subject, and the entry's path; None if nothing."""
        given = [each for each in subject.values if each in self._networks]
        if kind == "network" and given:
            return Spoken(self._networks[given[0]], (GIVEN, given[0]))
        section: Section = getattr(self, kind)
        spoken = section.speak(subject)
        return spoken and Spoken(spoken.value, (kind, *spoken.entry))

    @property
    def networks(self) -> Mapping[str, str]:
        """Networks of the target that somebody gave beside the file, by id or name of the checkpoint's."""
        return self._networks

    def policy(self, kind: PolicyKind) -> str | None:
        """Return what to do with a kind of which nothing speaks; None: what is done without a map."""
        policy: str | None = getattr(getattr(self, kind), "policy", None)
        return policy

    def place(self, entry: Keys) -> str:
        """Return where an entry is, such as ``site.yaml:12 flavor.rules[2]``, or that it was given."""
        if entry[0] == GIVEN:
            return GIVEN
        line = "" if self._document is None else f"{self._file}:{self._document.line(entry)} "
        return f"{line}{dotted(entry)}"


def with_networks(site_map: SiteMap, networks: Mapping[str, str]) -> SiteMap:
    """Return the site map with networks of the target by id or name of the old ones, which go before its rules."""
    copy = site_map.model_copy()
    copy._networks = dict(networks)  # noqa: SLF001 - its own, and no part of what a file says
    return copy


def read(path: Path | str) -> SiteMap:
    """Return the site map in a YAML file; SiteMapError names file, line and key of all that is wrong."""
    file = Path(path)
    document = read_yaml(file)
    shown = printable(str(file))
    if not isinstance(document.data, dict):
        raise SiteMapError(f"{shown}:{document.line(())}: it is no mapping of sections, such as `flavor:`")
    try:
        site_map = SiteMap.model_validate(document.data)
    except ValidationError as error:
        told = sorted({_told(each, document) for each in error.errors()})
        lines = [f"{shown}:{line}: {message}" for line, message in told[:_TOLD]]
        raise SiteMapError("\n".join(lines)) from None
    site_map._file, site_map._document = shown, document  # noqa: SLF001 - its own, and no part of what it says
    return site_map


def _told(error: ErrorDetails, document: Document) -> tuple[int, str]:
    """Return the line of an error, and what is wrong there."""
    loc = tuple(each for each in error["loc"] if each != "[key]")
    known = document.data
    path: Keys = ()
    for each in loc:
        # What pydantic names beside keys and places, such as a member of a union, is none of the file's.
        if not isinstance(known, dict | list) or (*path, each) not in document.lines:
            break
        known, path = known[each], (*path, each)  # type: ignore[index]  # it is a key or a place
    missing = loc[len(path) :] if error["type"] == "missing" else ()
    return document.line(path), f"{dotted((*path, *missing))}: {_message(error)}"


def _message(error: ErrorDetails) -> str:
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        return f"{error['input']} is no text to YAML: write it in quotes"
    message = error["msg"]
    return _MESSAGES.get(error["type"]) or printable(message[:1].lower() + message[1:])
