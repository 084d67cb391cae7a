"""Bytes from the bank become an image in Glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from restore_worker.errors import CloudUnavailableError
from restore_worker.plugin import Context, Definition

if TYPE_CHECKING:
    from openstack.image.v2.image import Image


class ImageMetadata(Definition):
    """What Glance must know of the bytes.

    checksum: MD5 of all of them, lower-case hex.
    """

    checksum: str
    disk_format: str
    container_format: str


def upload(context: Context, original_id: str, name: str, metadata: ImageMetadata) -> str | None:
    """Return the id of an active image with the bytes of the resource in the bank, None in a rendering.

    Raises what `Context.read_data` raises, CloudUnavailableError if other bytes arrived than were sent, and
    openstacksdk's errors.
    """

    def find() -> str | None:
        active = (image for image in _ours(context, original_id) if image.status == "active")
        return next((image.id for image in active if image.checksum == metadata.checksum), None)

    def create() -> str:
        delete(context, original_id, {})  # what an upload that was cut off left
        return _upload(context, original_id, name, metadata)

    return context.once("image", create, find)


def delete(context: Context, original_id: str, made: Mapping[str, str]) -> None:
    """Delete the images that `upload` made for the resource, also those that it could not note as made."""
    glance = context.connection().image
    for image_id in {image.id for image in _ours(context, original_id)} | {made.get("image", "")} - {""}:
        glance.delete_image(image_id, ignore_missing=True)


def _ours(context: Context, original_id: str) -> list[Image]:
    from openstack.image.v2.image import Image

    tags = _tags(context, original_id)
    found = context.connection().image.images(tag=tags)
    return [image for image in found if isinstance(image, Image) and set(tags) <= set(image.tags)]


def _tags(context: Context, original_id: str) -> list[str]:
    return ["restore-worker", f"restore:{context.restore_id}", f"original:{original_id}"]


def _upload(context: Context, original_id: str, name: str, metadata: ImageMetadata) -> str:
    from openstack import exceptions
    from openstack.image.v2.image import Image

    glance = context.connection().image
    # Not the proxy's create_image(): it adds properties of its own, and takes a name that is a path for a file.
    image = Image.new(
        name=name,
        disk_format=metadata.disk_format,
        container_format=metadata.container_format,
        tags=_tags(context, original_id),
    ).create(glance)
    try:
        exceptions.raise_from_response(image.upload(glance, data=context.read_data()))
        _compare(image.fetch(glance), metadata)
    except BaseException:
        glance.delete_image(image.id, ignore_missing=True)
        raise
    return image.id


def _compare(image: Image, metadata: ImageMetadata) -> None:
    if image.checksum != metadata.checksum:
        raise CloudUnavailableError(
            f"Glance has other bytes of image {image.name!r} than were sent: their MD5 is {image.checksum} "
            f"instead of {metadata.checksum}"
        )
