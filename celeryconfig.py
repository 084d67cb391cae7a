"""Choices of a deployment for Celery, over the defaults in restore_worker/app.py.

Found when `celery` runs in this directory, or by CELERY_CONFIG_MODULE. Any setting may stand here, but those that
correctness needs cannot be changed. Where Redis is, and how many processes a worker has, the environment says: see
restore_worker/settings.py.
"""

# A worker that is told to stop gives its tasks so long to end before it hands them back, in seconds.
worker_soft_shutdown_timeout = 10.0

# Keys to sign messages with, and whose messages are taken, stand here too: see docs/security.md.
