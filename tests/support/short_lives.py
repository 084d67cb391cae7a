"""Imported by a worker (``--include``): what has ended is kept for as many seconds as KEEP_SECONDS says."""

from __future__ import annotations

import os

from restore_worker import canvas, worker

_seconds = float(os.environ["KEEP_SECONDS"])
# The setting itself is of whole days.
_settings = worker.current_settings().model_copy(update={"keep_days": _seconds / 86400})
worker.current_settings = lambda: _settings  # type: ignore[assignment]  # it is a cached function
# Two hours are longer than anybody waits.
canvas._DONE_SECONDS = int(_seconds)
