"""What a bank holds of a stack that its user had Heat manage (docs/bank-format.md), and what becomes of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field

from restore_openstack.backup_record import Records
from restore_openstack.fields import Given, Id
from restore_worker.plugin import Definition, Parameters

# Heat's own limit of a template.
_LONGEST = 512 << 10
Text = Annotated[str, Field(max_length=_LONGEST)]


class SavedVolume(Definition):
    """Where the bytes of a volume of the stack are: one of both is set.

    path: names of resources, from the stack's own down through nested stacks, with slashes between.
    backup_id: of a Cinder backup.
    image_id: original id of an image that the checkpoint holds.
    """

    path: Annotated[str, Field(min_length=1)]
    backup_id: Id | None = None
    image_id: Id | None = None


class Environment(Definition):
    """What a user gave Heat beside the template.

    resource_registry: what stands for a type.
    parameter_defaults: values for parameters of that name, of the template or of nested ones.
    """

    resource_registry: dict[str, Any] = Field(default_factory=dict)
    parameter_defaults: dict[str, Any] = Field(default_factory=dict)


class StackDefinition(Definition):
    """The metadata of a stack in the bank.

    template: the source template, YAML or JSON.
    files: what it refers to, by the names that it uses.
    environment: as its user gave it, but for the values of parameters.
    parameters: values by name, without hidden ones.
    hidden: parameters whose values are not in the bank, since the template hides them.
    tags: of the stack.
    timeout_mins: minutes that Heat may take for it.
    volumes: those of which something was saved.
    """

    template: Text
    files: dict[str, Text] = Field(default_factory=dict)
    environment: Environment = Environment()
    parameters: dict[str, Any] = Field(default_factory=dict)
    hidden: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    timeout_mins: Annotated[int, Field(ge=1)] | None = None
    volumes: list[SavedVolume] = Field(default_factory=list)


class StackParameters(Parameters):
    """What a user may set for a stack.

    restore_name: instead of the original's.
    backup_record: as for volumes: what another cloud's Cinder exports of the backups of the stack's volumes.
    """

    restore_name: Given | None = None
    backup_record: Records | None = None


class Filled(BaseModel):
    """What a volume of the stack is filled with.

    records: of the backup, and before it of those that it builds on, if the target may lack them.
    """

    path: str
    backup_id: str | None
    image_id: str | None
    records: tuple[str, ...] = ()


class StackWork(BaseModel):
    """What comes back.

    registry, defaults: of the environment.
    values: of the parameters, as the target calls things; kinds: what they name there.
    images: names of those that are ids of images of the checkpoint, which have new ids.
    stand_ins: types that are left out until the volumes are filled.
    """

    name: str
    template: str
    files: dict[str, str]
    registry: dict[str, Any]
    defaults: dict[str, Any]
    values: dict[str, Any]
    kinds: dict[str, str]
    images: tuple[str, ...]
    stand_ins: tuple[str, ...]
    tags: tuple[str, ...]
    timeout_mins: int | None
    volumes: tuple[Filled, ...]
