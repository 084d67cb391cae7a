"""Other inputs made of one: JSON stays JSON most of the time, so that it gets past the first parser."""

from __future__ import annotations

import json
from random import Random
from typing import Any

_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 1.5, 1e308, "", " ", "x", "yes", "null", "1e3", "0x10"),
    *([], {}, [None], [[]], [{}], {"get_file": "/etc/passwd"}, {"get_param": "OS::project_id"}, {"": ""}),
    *({"str_replace": {"template": "x", "params": {}}}, {"yaql": {"expression": "$", "data": {}}}),
    *("10.0.0.5", "10.0.0.0/8", "::", "fe80::1%eth0", "0.0.0.0/0", "fa:16:3e:00:00:01", "../../x", "a" * 300),
    *("\x00", "\x1b[2J", "\u202e", "\ud83d\ude00", "!!python/object:os.system", "&a *a", "<<", "2020-01-01", "default"),
    *("network:router_interface", "compute:nova", "network:dhcp", "ingress", "egress", "IPv6", "slaac", "any"),
]  # fmt: skip
_LUMPS = [b"[" * 300, b"\xff\xfe", b"\xef\xbb\xbf", b"NaN", b"\\ud800", b'"', b"\\", b"\0", b"9" * 5000, b"{}"]


def mutated(data: bytes, random: Random, prefix: int = 0) -> bytes:
    """Return another input; ``prefix`` bytes before the JSON choose what it is for."""
    head, body = data[:prefix], data[prefix:]
    if head and random.random() < 0.05:
        head = random.randbytes(prefix)
    if random.random() < 0.7:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return head + _torn(body, random)
        for _ in range(random.choice((1, 1, 2, 4))):
            document = _changed(document, random)
        return head + json.dumps(document).encode()
    return head + _torn(body, random)


def _torn(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data) + 1)
    lump = random.choice([random.randbytes(random.randrange(1, 5)), *_LUMPS])
    return data[:place] + lump + data[place + random.choice((0, len(lump), len(data))) :]


def _changed(document: Any, random: Random) -> Any:
    """Return the document with one value in it replaced, left out, doubled or renamed."""
    if not isinstance(document, dict | list) or not document or random.random() < 0.1:
        return random.choice(_VALUES)
    copy = document.copy()
    if isinstance(copy, list):
        place: Any = random.randrange(len(copy))
    else:
        place = random.choice(list(copy))
    how = random.random()
    if how < 0.8:
        copy[place] = _changed(copy[place], random)
    elif how < 0.9:
        del copy[place]
    elif isinstance(copy, list):
        copy.append(copy[place])
    else:
        copy[str(random.choice(_VALUES))] = copy.pop(place)
    return copy
