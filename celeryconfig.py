"""Choices of a deployment for Celery; what correctness needs is set in restore_worker/app.py, and stands.

Found when `celery` runs in this directory, or by CELERY_CONFIG_MODULE. Where Redis is, and how many processes a
worker has, the environment says: see restore_worker/settings.py.
"""

from restore_worker.settings import load

worker_concurrency = load().concurrency

# Redis may start after the workers, and may be away for a while.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None

# A worker that is told to stop at once gives its tasks so long to end, in seconds.
worker_soft_shutdown_timeout = 10.0

# Its periods are seconds: nothing to remember over a restart.
beat_scheduler = "celery.beat:Scheduler"
