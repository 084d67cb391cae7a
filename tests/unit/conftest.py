"""What tests of tasks in this process stand on."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def configured(redis_server: str) -> Iterator[None]:
    """Have an environment that Celery can be configured from; nothing connects."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESTORE_REDIS_URL", redis_server)
        yield
