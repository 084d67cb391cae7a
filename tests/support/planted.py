"""Secrets in a bank, where no plugin asks for them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from restore_worker.bank import Value

_ID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}")


def planted(objects: Mapping[str, Value], mark: str) -> dict[str, Value]:
    """Return the objects of a bank with secrets in every resource's metadata, all of which hold the mark."""
    return {
        key: Value(json.dumps(plant(json.loads(value.data), mark)).encode(), value.serialized)
        if key.endswith("/metadata")
        else value
        for key, value in objects.items()
    }


def plant(value: Any, mark: str) -> Any:
    """Return JSON with secrets in all its objects but those that are maps of ids: in these there are no fields."""
    if isinstance(value, list):
        return [plant(each, mark) for each in value]
    if not isinstance(value, dict):
        return value
    inner = {name: plant(each, mark) for name, each in value.items()}
    if not value or any(_ID.fullmatch(name) for name in value):
        return inner
    return {
        "adminPass": mark,
        "user_data": mark,
        "metadata": {"password": mark},
        "storage": {"secret_key": mark, "endpoints": [f"https://user:{mark}@s3"]},
        **inner,
    }
