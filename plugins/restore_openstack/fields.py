"""Types of what a bank holds: text that is checked where it enters, lists and maps that may be null."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from restore_worker.errors import CheckpointError
from restore_worker.resource import check_id

_MAC = re.compile(r"[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}")


def _id(text: str) -> str:
    try:
        return check_id(text, "the value")
    except CheckpointError as error:
        raise PydanticCustomError("id", "{reason}", {"reason": str(error)}) from None


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise PydanticCustomError("address", "it is not an IP address") from None
    return text


def _address_or_cidr(text: str) -> str:
    try:
        ip_network(text, strict=False)
    except ValueError:
        raise PydanticCustomError("cidr", "it is not a range of IP addresses, such as 10.0.0.0/24") from None
    return text


def _cidr(text: str) -> str:
    _address_or_cidr(text)
    # Neutron takes a bare address for a range of one, Heat does not.
    return text if "/" in text else str(ip_network(text))


def _mac(text: str) -> str:
    if not _MAC.fullmatch(text):
        raise PydanticCustomError("mac", "it is not a MAC address")
    return text


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


T = TypeVar("T")
Id = Annotated[str, AfterValidator(_id)]
Address = Annotated[str, AfterValidator(_address)]
AddressOrCidr = Annotated[str, AfterValidator(_address_or_cidr)]
Cidr = Annotated[str, AfterValidator(_cidr)]
Mac = Annotated[str, AfterValidator(_mac)]
# What a user names instead of what was; empty text would be neither that nor the target's default.
Given = Annotated[str, Field(min_length=1)]
# Neutron says null for "none at all" in most lists, and for "not told" in the others.
Items = Annotated[tuple[T, ...], BeforeValidator(lambda value: () if value is None else _tuple(value))]
ItemsOrNone = Annotated[tuple[T, ...] | None, BeforeValidator(_tuple)]
ById = Annotated[dict[Id, T], BeforeValidator(lambda value: {} if value is None else value)]
