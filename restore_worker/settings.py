"""What the environment says; the only reader of os.environ."""

from __future__ import annotations

import base64
import enum
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from restore_worker import embedded, redis_address
from restore_worker.cut import Limits
from restore_worker.errors import RestoreError
from restore_worker.redis_address import RedisAddress

# Bytes of a secret that the Standard Webhooks specification wants at least.
_SHORTEST_SECRET = 24


class WebhookForm(enum.StrEnum):
    """What a webhook gets."""

    # As the Standard Webhooks specification has it.
    JSON = "json"
    # A text alone, as Slack, Mattermost and Rocket.Chat take it.
    SLACK = "slack"


class LogForm(enum.StrEnum):
    """How workers and beat log."""

    # For people.
    CONSOLE = "console"
    # An object a line.
    JSON = "json"


class Settings(BaseModel):
    """One field a variable; an empty variable counts as unset."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True)

    # URL or directory of the bank, for commands and calls that name none.
    bank: str | None = Field(None, alias="RESTORE_BANK")
    # The Redis that callers and workers share; without it, the one of `restore-worker up`.
    redis: RedisAddress | None = Field(None, alias="RESTORE_REDIS_URL")
    # Name of the target cloud in clouds.yaml.
    cloud: str | None = Field(None, alias="OS_CLOUD")
    # A clouds.yaml in another place than openstacksdk looks.
    clouds_file: Path | None = Field(None, alias="OS_CLIENT_CONFIG_FILE")
    # Directory where `restore-worker up` keeps its data, and where it is found.
    home: Path = Field(alias="RESTORE_HOME")
    # Module of deployment choices for Celery; it need not exist.
    celery_config: str = Field("celeryconfig", alias="CELERY_CONFIG_MODULE")
    # Worker processes of one worker; None: as many as the machine has cores.
    concurrency: int | None = Field(None, alias="RESTORE_CONCURRENCY", ge=1)
    # How long a silent worker keeps a resource before another may take it, and how long what was sent may be under
    # way before it is looked for, in seconds.
    lease_seconds: int = Field(30, alias="RESTORE_LEASE_SECONDS", ge=1)
    # How often a resource is tried before it fails for good.
    max_attempts: int = Field(5, alias="RESTORE_MAX_ATTEMPTS", ge=1)
    # How long Heat may work on a stack, or a service on what is built beside it, in minutes: big volumes take
    # hours.
    stack_minutes: int = Field(240, alias="RESTORE_STACK_MINUTES", ge=1)
    # How many resources one stack may have, unless the target tells; a larger application becomes several stacks.
    stack_resources: int = Field(1000, alias="RESTORE_STACK_RESOURCES", ge=1)
    # How large the template of one stack may be, likewise, in bytes.
    stack_bytes: int = Field(524288, alias="RESTORE_STACK_BYTES", ge=10000)
    # How long a finished restore stays in Redis, in days.
    keep_days: int = Field(30, alias="RESTORE_KEEP_DAYS", ge=1)

    # A collector of OpenTelemetry that workers send traces to, by the standard's variable; its others count, too.
    otlp_endpoint: str | None = Field(None, alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    # How workers and beat write their logs: console for people, json an object a line.
    log_form: LogForm = Field(LogForm.CONSOLE, alias="RESTORE_LOG_FORM")

    # Where workers post how restores end; the path of it is the secret of some receivers.
    webhook_url: SecretStr | None = Field(None, alias="RESTORE_WEBHOOK_URL")
    # What they sign it with: base64 of 24 to 64 bytes, with or without `whsec_` before it.
    webhook_secret: SecretStr | None = Field(None, alias="RESTORE_WEBHOOK_SECRET")
    # What it gets: json as the standard has it, slack a text alone.
    webhook_form: WebhookForm = Field(WebhookForm.JSON, alias="RESTORE_WEBHOOK_FORM")
    # A program with its arguments, which workers run to tell the same.
    notify_command: str | None = Field(None, alias="RESTORE_NOTIFY_COMMAND")

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("webhook_url", mode="after")
    @classmethod
    def _address(cls, url: SecretStr) -> SecretStr:
        if urlsplit(url.get_secret_value()).scheme not in {"http", "https"}:
            raise ValueError("it is no http:// or https:// URL")
        return url

    @field_validator("webhook_secret", mode="after")
    @classmethod
    def _key(cls, secret: SecretStr) -> SecretStr:
        try:
            size = len(base64.b64decode(secret.get_secret_value().removeprefix("whsec_"), validate=True))
        except ValueError:
            size = 0
        if size < _SHORTEST_SECRET:
            raise ValueError(f"it is not base64 of {_SHORTEST_SECRET} bytes or more: `openssl rand -base64 32`")
        return secret

    @field_validator("notify_command", mode="after")
    @classmethod
    def _command(cls, command: str) -> str:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"it is no command line: {error}") from None
        if not words or not shutil.which(words[0]):
            raise ValueError(f"there is no program {words[0] if words else ''!r}")
        return command

    @field_validator("redis", mode="before")
    @classmethod
    def _parsed(cls, url: str) -> RedisAddress:
        return redis_address.parse(url)

    @property
    def stack_limits(self) -> Limits:
        """How large one stack may be, unless the target tells."""
        return Limits(self.stack_resources, self.stack_bytes)

    def redis_address(self) -> RedisAddress:
        """Return where Redis is: the one set, else the embedded server that runs here.

        Raises RestoreError if there is neither.
        """
        if self.redis:
            return self.redis
        url = embedded.address(self.home)
        if url is None:
            raise RestoreError(
                "there is no Redis to work with: start `restore-worker up` in another terminal, "
                "or set RESTORE_REDIS_URL to the one that your workers use"
            )
        return redis_address.parse(url)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this process; RestoreError names the variable that has an unusable value."""
    given = {name: value for name, value in environ.items() if value}
    state = given.get("XDG_STATE_HOME", "~/.local/state")
    try:
        return Settings.model_validate({"RESTORE_HOME": f"{state}/restore-worker"} | given)
    except ValidationError as error:
        # Only the reason: a value may hold a password.
        reasons = [f"{each['loc'][0]}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()]
        raise RestoreError("environment variable " + "; ".join(reasons)) from None
