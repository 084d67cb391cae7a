"""An image as Glance tells of it, and its bytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from openstack import exceptions
from openstack.connection import Connection
from pydantic import BaseModel, ConfigDict

_PIECE = 2**20


class Image(BaseModel):
    """An image."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    id: str
    name: str | None
    disk_format: str
    container_format: str


def read_image(cloud: Connection, image_id: str) -> Image:
    """Return an image; openstacksdk's errors if there is none."""
    return Image.model_validate(cloud.image.get_image(image_id).to_dict(computed=False))


def download(cloud: Connection, image_id: str) -> Iterator[bytes]:
    """Yield the bytes of an image, at most a MiB at a time; openstacksdk's errors if there are none."""
    with contextlib.closing(cloud.image.download_image(image_id, stream=True)) as response:
        exceptions.raise_from_response(response)
        yield from response.iter_content(_PIECE)
