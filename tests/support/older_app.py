"""The application as an older version would have it: its workers tell another version."""

import restore_worker

restore_worker.__version__ = "0.0.1"

from restore_worker.app import app  # noqa: E402 - what it imports takes the version over

__all__ = ["app"]
