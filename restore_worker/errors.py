"""Every error that restore-worker raises on purpose.

The docstring of a class is its default message. A message is one sentence that names what is wrong
(checkpoint, resource, field) and what to do; it never holds a secret.
"""

from __future__ import annotations

import inspect


def printable(text: str) -> str:
    """Return a text on one line, in which nothing can steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class RestoreError(Exception):
    """The restore failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


class NotificationError(RestoreError):
    """A receiver could not be told."""


class Retriable:
    """Mixin: the same call may succeed later (connection lost, timeout, 429, 502-504).

    after: seconds that the other side wants us to wait first, 0 if it did not say.
    """

    after: float = 0.0


class BankError(RestoreError):
    """The bank cannot be read."""


class BankUnavailableError(Retriable, BankError):
    """The bank does not answer."""


class MissingObjectError(BankError):
    """The bank has no such object."""


class DamagedDataError(BankError):
    """The bytes in the bank are not those that were saved."""


class CheckpointError(RestoreError):
    """The checkpoint cannot be restored."""


class GraphError(CheckpointError):
    """The resource graph is not a directed acyclic graph of known resources."""


class PluginError(RestoreError):
    """A plugin is missing or broke its contract."""


class ParameterError(RestoreError):
    """A restore parameter is unknown or has an unusable value."""


class SiteMapError(RestoreError):
    """The site map cannot be used."""


class TemplateError(RestoreError):
    """The template would not be valid HOT."""


class CloudError(RestoreError):
    """The cloud refused or cannot be reached."""


class CloudUnavailableError(Retriable, CloudError):
    """The cloud does not answer."""


class OtherCloudError(Retriable, CloudError):
    """The worker's clouds.yaml means another cloud; another worker's may be right."""


class LedgerError(RestoreError):
    """The ledger in Redis refused or cannot be reached."""


class LedgerUnavailableError(Retriable, LedgerError):
    """Redis does not answer."""


class StaleLeaseError(LedgerError):
    """Another worker holds this resource now; what this copy of the task did is not recorded."""


class UnknownRestoreError(RestoreError):
    """There is no such restore."""


class NotOwnedError(RestoreError):
    """The checkpoint is of another project than the one that it is to be restored to."""


class DuplicateRestoreError(RestoreError):
    """The same was submitted before."""


class RefusedError(RestoreError):
    """The restore was refused before anything was written."""

    def __init__(self, message: str | None = None, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems
