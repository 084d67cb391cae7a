"""What a bank holds of a database instance, what a user may set for it, and what becomes of the two."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from restore_openstack.fields import Given, Id
from restore_worker.plugin import Definition, Parameters

Size = Annotated[int, Field(ge=1)]


class Datastore(Definition):
    """What runs on the instance, such as ``mysql`` ``5.7.29``: names, not ids."""

    type: str
    version: str | None = None


class Flavor(Definition):
    """The instance's flavor."""

    id: str


class DatabaseDefinition(Definition):
    """The metadata of a database instance in the bank.

    size: of its volume, GiB.
    """

    backup_id: Id
    datastore: Datastore
    flavor: Flavor
    size: Size


class DatabaseParameters(Parameters):
    """What a user may set for a database instance.

    restore_name: instead of the original's.
    restore_flavor_id: instead of the original's.
    restore_size: GiB, of the volume; what the backup holds must fit.
    restore_datastore_version: of the same datastore, instead of the original's.
    restore_net_id: id of a network of the target, for its users; the original's is not in the bank.
    restore_availability_zone: a zone of the target instead of its default one.
    """

    restore_name: Given | None = None
    restore_flavor_id: Given | None = None
    restore_size: Size | None = None
    restore_datastore_version: Given | None = None
    restore_net_id: Id | None = None
    restore_availability_zone: Given | None = None


class DatabaseWork(BaseModel):
    """What comes back, and of what.

    size: GiB.
    """

    name: str
    flavor: str
    size: int
    backup_id: str
    datastore: str
    datastore_version: str | None
    network: str | None
    availability_zone: str | None
