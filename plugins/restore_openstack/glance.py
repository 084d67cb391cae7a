"""Bytes from the bank become an image in Glance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from restore_openstack.lookups import or_none
from restore_worker.errors import CloudUnavailableError
from restore_worker.plugin import BankData, Context, Definition, StillBuilding, Target
from restore_worker.resource import Resource

if TYPE_CHECKING:
    from openstack.connection import Connection
    from openstack.image.v2.image import Image

_MIB = 1024**2
# To wait for room to send, and for the answer to an upload, which comes when Glance's store has everything.
_SECONDS = (60, 1800)
# Bytes sent at once; uWSGI, in front of many a Glance, takes less than 1 MiB.
_PART = 512 * 1024


class ImageMetadata(Definition):
    """What Glance must know of the bytes.

    checksum: MD5 of all of them, lower-case hex.
    """

    checksum: str
    disk_format: str
    container_format: str


def claim_room(resource: Resource, data: BankData, target: Target, *, passing: bool = False) -> None:
    """Claim the room for an image of the bytes; passing: it is deleted as soon as there is a volume of it."""
    target.claim("image", "image_count_total", 1, passing=passing)
    size = -(-target.data_size(resource, data) // _MIB)
    target.claim("image", "image_size_total", size, passing=passing)


def upload(context: Context, original_id: str, name: str, metadata: ImageMetadata) -> str | None:
    """Return the id of an active image with the bytes of the resource in the bank, None in a rendering.

    Raises what `Context.read_data` raises, CloudUnavailableError if other bytes arrived than were sent,
    StillBuilding if the image was deleted or an earlier upload of it broke off, and openstacksdk's errors.
    """
    begun: list[str] = []

    def begin() -> str:
        there = _ours(context, original_id)
        for image in there:
            if not _whole(image, metadata):  # what an attempt left that could not note it
                context.check_ours()
                context.connection().image.delete_image(image.id, ignore_missing=True)
        # Whoever had the resource before may have been slow to end.
        if whole := [image.id for image in there if _whole(image, metadata)]:
            return whole[0]
        context.check_ours()
        begun.append(_create(context, original_id, name, metadata))
        return begun[0]

    def find() -> str | None:
        return next((image.id for image in _ours(context, original_id) if _whole(image, metadata)), None)

    # It is noted before its bytes are sent, which takes hours: who asks meanwhile is told of it.
    image_id = context.once("image", begin, find)
    if image_id is None:
        return None
    if image_id in begun:
        _fill(context, image_id, metadata)
        return image_id
    image = _look(context, image_id)
    if image is None or not _whole(image, metadata):
        # Never filled by two: the worker that began it may not know yet that it has lost the resource.
        context.check_ours()
        context.connection().image.delete_image(image_id, ignore_missing=True)
        context.gone("image")
        raise StillBuilding(f"image {image_id} is not there, or not whole: it is uploaded again", after=0)
    return image_id


def delete(context: Context, original_id: str, made: Mapping[str, str]) -> None:
    """Delete the images that `upload` made for the resource, also those that it could not note as made."""
    glance = context.connection().image
    for image_id in {image.id for image in _ours(context, original_id)} | {made.get("image", "")} - {""}:
        glance.delete_image(image_id, ignore_missing=True)


def _whole(image: Image, metadata: ImageMetadata) -> bool:
    return bool(image.status == "active" and image.checksum == metadata.checksum)


def _look(context: Context, image_id: str) -> Image | None:
    from openstack.image.v2.image import Image

    found = or_none(lambda: context.connection().image.get_image(image_id))
    return found if isinstance(found, Image) else None


def _ours(context: Context, original_id: str) -> list[Image]:
    from openstack.image.v2.image import Image

    tags = _tags(context, original_id)
    found = context.connection().image.images(tag=tags)
    return [image for image in found if isinstance(image, Image) and set(tags) <= set(image.tags)]


def _tags(context: Context, original_id: str) -> list[str]:
    return ["restore-worker", f"restore:{context.restore_id}", f"original:{original_id}"]


def _create(context: Context, original_id: str, name: str, metadata: ImageMetadata) -> str:
    """Return the id of a new image without bytes."""
    from openstack.image.v2.image import Image

    # Not the proxy's create_image(): it adds properties of its own, and takes a name that is a path for a file.
    image = Image.new(
        name=name,
        disk_format=metadata.disk_format,
        container_format=metadata.container_format,
        tags=_tags(context, original_id),
    )
    return image.create(context.connection().image).id


def _fill(context: Context, image_id: str, metadata: ImageMetadata) -> None:
    try:
        _send(context.connection(), image_id, context.read_data())
        _compare(_look(context, image_id), image_id, metadata)
    except BaseException:
        # The next attempt does so too; what happened is more important than that it cannot be deleted now.
        with suppress(Exception):
            image = _look(context, image_id)
            # If only Glance's answer was lost, another worker may be done with it.
            if image is None or not _whole(image, metadata):
                context.connection().image.delete_image(image_id, ignore_missing=True)
                context.gone("image")
        raise


def _send(connection: Connection, image_id: str, pieces: Iterator[bytes]) -> None:
    from openstack.exceptions import raise_from_response

    headers = {"Content-Type": "application/octet-stream", "Accept": ""}
    response = connection.image.put(
        f"/images/{image_id}/file",
        data=_parts(pieces),
        headers=headers,
        timeout=_SECONDS,
    )
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        # What a web server in front of Glance says that did not wait for a slow bank, too.
        raise CloudUnavailableError(f"Glance broke off the upload of image {image_id} (HTTP 500)")
    raise_from_response(response)


def _parts(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        for start in range(0, len(piece), _PART):
            yield piece[start : start + _PART]


def _compare(image: Image | None, image_id: str, metadata: ImageMetadata) -> None:
    if image is None:
        raise CloudUnavailableError(f"somebody deleted image {image_id} while it was uploaded")
    if image.checksum != metadata.checksum:
        raise CloudUnavailableError(
            f"Glance has other bytes of image {image.name!r} than were sent: their MD5 is {image.checksum} "
            f"instead of {metadata.checksum}"
        )
