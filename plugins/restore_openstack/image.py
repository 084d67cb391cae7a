"""Images: their bytes are in the bank, and go to Glance before the stack is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel

from restore_openstack import glance
from restore_openstack.disks import IMAGE
from restore_openstack.fields import Given
from restore_openstack.glance import ImageMetadata
from restore_openstack.naming import name_of
from restore_worker.plugin import (
    BankData,
    Context,
    Definition,
    Parameters,
    Produces,
    Report,
    RestorePlugin,
    Selection,
    Target,
)
from restore_worker.resource import Resource
from restore_worker.template import HeatParameter, HeatTemplate


class ImageDefinition(Definition):
    """The metadata of an image in the bank.

    server_id: the server that the bytes are a snapshot of; None if they are the image itself.
    chunks_num: None before 2017.
    """

    image_metadata: ImageMetadata
    server_id: str | None = None
    chunks_num: int | None = None


class ImageParameters(Parameters):
    """What a user may set for an image.

    restore_name: instead of the original's.
    """

    restore_name: Given | None = None


class ImageWork(BaseModel):
    """What comes back under which name."""

    name: str
    file: ImageMetadata
    chunks: int | None


class ImagePlugin(RestorePlugin[ImageDefinition, ImageParameters, ImageWork]):
    """Uploads the bytes in the bank, compares the checksum and puts the image's id as a parameter."""

    resource_type = IMAGE
    Definition = ImageDefinition
    Parameters = ImageParameters
    Work = ImageWork
    isolates = True
    not_in_bank: ClassVar[tuple[tuple[str, str], ...]] = (
        ("properties", "the image's properties (os_type, hw_*, architecture...) were not saved: set them again"),
        ("min_disk", "the image comes back without a least disk size"),
        ("min_ram", "the image comes back without a least memory size"),
        ("visibility", "the image comes back private to the project, and shared with nobody"),
        ("protected", "the image comes back without protection against deletion"),
        ("tags", "the image's tags were not saved; it comes back with those of the restore"),
        ("kernel_id", "kernel and RAM disk images that the image referred to were not saved"),
    )

    def prepare(
        self,
        resource: Resource,
        definition: ImageDefinition,
        parameters: ImageParameters,
        selection: Selection,
        report: Report,
    ) -> ImageWork:
        """Return what to upload; whose disk it holds is told at the server that boots from it."""
        return ImageWork(
            name=name_of(resource, selection, report), file=definition.image_metadata, chunks=definition.chunks_num
        )

    def produces(self, work: ImageWork) -> Produces:
        """Heat can make no image of bytes: it is built before."""
        return Produces.PARAMETER

    def data(self, work: ImageWork) -> BankData:
        """Return the chunks of the image."""
        return BankData(work.chunks, work.file.checksum)

    def check(self, resource: Resource, work: ImageWork, target: Target, report: Report) -> None:
        """Claim the room that it needs in Glance."""
        glance.claim_room(resource, self.data(work), target)

    def restore(self, resource: Resource, work: ImageWork, template: HeatTemplate, context: Context) -> None:
        """Upload the image and put its id."""
        image_id = glance.upload(context, resource.id, work.name, work.file)
        template.put_parameter(
            resource.id,
            HeatParameter(
                image_id,
                IMAGE,
                constraint="glance.image",
                description=f"Id of an image with the bytes that the checkpoint holds of {resource} "
                f"({work.file.disk_format}, MD5 {work.file.checksum})",
                title=work.name,
            ),
        )

    def discard(self, resource: Resource, made: Mapping[str, str], context: Context) -> None:
        """Delete the image."""
        glance.delete(context, resource.id, made)
