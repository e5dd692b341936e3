"""Every setting, with its unit and bounds. All are read from `SIGNOFF_*` environment variables.

Only the entry points (API, worker, beat, command line) build a `Settings`; everything else is handed what it
needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from signoff.errors import ConfigurationError
from signoff.notifications.pace import Pace
from signoff.notifications.services import DEFAULT_SERVICES
from signoff.webhooks.targets import Policy


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Algorithms = Annotated[tuple[Literal["RS256", "ES256"], ...], NoDecode, BeforeValidator(_split), Field(min_length=1)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class Settings(BaseSettings):
    """What a Signoff process is told from outside.

    `database_url` is a SQLAlchemy or libpq URL of PostgreSQL 14 or later; `broker_url` a Celery URL of a
    server that speaks the Redis protocol or of RabbitMQ. `modules` are the Python modules and YAML files that
    hold workflows; only workers and `signoff deploy` import them.
    """

    model_config = SettingsConfigDict(env_prefix="SIGNOFF_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(default=None, description="PostgreSQL 14 or later: `postgresql://…`")
    broker_url: SecretStr | None = Field(
        default=None, description="Redis protocol (`redis://`, `rediss://`) or RabbitMQ (`amqp://`)"
    )
    home: Path = Field(default=Path(".signoff"), description="where `signoff dev` keeps everything")
    modules: Names = Field(
        default=(), description="modules and YAML files that hold workflows; only workers import them"
    )

    api_host: str = Field(default="127.0.0.1", description="address the API listens on")
    api_port: int = Field(default=8400, ge=0, le=65535, description="port the API listens on; 0 is any free one")
    api_workers: int = Field(default=2, ge=1, le=64, description="processes of the API")
    api_threads: int = Field(default=8, ge=1, le=256, description="threads of each, one a request")
    api_read_seconds: float = Field(default=15.0, ge=0.5, le=600, description="time to send one whole request")
    api_write_seconds: float = Field(default=30.0, ge=0.5, le=600, description="time to take one piece of an answer")

    pool_size: int = Field(default=10, ge=1, le=200, description="database connections of each process of the API")
    pool_timeout_seconds: float = Field(default=5.0, gt=0, le=60, description="wait for a free connection")
    statement_timeout_seconds: float = Field(default=15.0, gt=0, le=300, description="longest statement")

    queues: Names = Field(default=(), description="queues a worker serves; empty means all that its workflows use")
    pool: Literal["prefork", "threads", "solo"] = Field(
        default="prefork", description="prefork for steps that compute, threads for steps that wait"
    )
    concurrency: int = Field(default=4, ge=1, le=512, description="processes or threads of one worker")
    inline_budget_seconds: float = Field(
        default=5.0,
        ge=0,
        le=300,
        description="how long a worker goes straight on with the next step of one run",
    )
    drain_runs: int = Field(
        default=16,
        ge=1,
        le=200,
        description="queued runs whose steps are short that a worker takes together; 1 takes each by its own message",
    )
    lease_seconds: float = Field(default=20.0, ge=1, le=3600, description="how long a silent worker keeps a run")
    step_timeout_seconds: float = Field(default=600.0, gt=0, le=86400, description="for steps that name none")
    max_lost_leases: int = Field(default=5, ge=1, le=100, description="lost workers at one step before it fails")
    record_patience_seconds: float = Field(
        default=120.0,
        ge=0,
        le=3600,
        description="how long a worker tries to record a step while the database is away",
    )
    soft_shutdown_seconds: float = Field(default=20.0, ge=0, le=600, description="time to finish after SIGTERM")

    sweep_seconds: float = Field(default=1.0, ge=0.05, le=60, description="how often beat sends the sweep")
    sweep_batch: int = Field(default=200, ge=1, le=5000, description="rows one sweep transaction takes")
    sweep_max_rows: int = Field(default=5000, ge=1, le=1_000_000, description="rows one sweep takes in all")
    health_overdue_seconds: float = Field(
        default=60.0, ge=1, le=3600, description="how late the sweep may be before the health probe fails"
    )
    republish_seconds: float = Field(
        default=5.0,
        ge=0.2,
        le=600,
        description="how long a queued run may wait before its message is sent again",
    )
    republish_max_seconds: float = Field(default=300.0, ge=1, le=86400, description="longest wait between resends")

    max_payload_bytes: int = Field(default=262_144, ge=1024, le=16_777_216, description="input, output or payload")
    max_request_bytes: int = Field(default=1_048_576, ge=1024, le=67_108_864, description="largest body the API reads")
    max_bulk: int = Field(default=20, ge=1, le=200, description="human tasks one bulk decision may name")
    max_events_per_run: int = Field(
        default=10_000,
        ge=100,
        le=1_000_000,
        description="events after which a run is failed instead of looping on",
    )
    claim_minutes: float = Field(
        default=30.0, ge=0.05, le=1440, description="how long a claim holds that nobody renews"
    )
    session_hours: float = Field(default=12.0, ge=0.1, le=168, description="how long a sign-in to the pages holds")
    trusted_proxies: int = Field(
        default=0, ge=0, le=10, description="proxies of yours in front of the API, each of which sets `X-Forwarded-For`"
    )
    public_url: str | None = Field(
        default=None, max_length=500, description="where people find the pages: `https://signoff.example.com`"
    )

    task_link_hours: float = Field(
        default=72.0, ge=0.1, le=720, description="how long a link into one human task may be used"
    )
    task_link_confirm: Literal["session", "possession"] = Field(
        default="session",
        description="who decides by such a link: its person signed in, or the first browser that goes on with it",
    )

    oidc_issuer: str | None = Field(
        default=None, max_length=500, description="OpenID provider that signs people in; empty means none"
    )
    oidc_client_id: str | None = Field(default=None, max_length=500, description="how the provider knows the pages")
    oidc_client_secret: SecretStr | None = Field(default=None, description="and their secret")
    oidc_scopes: Names = Field(default=("openid", "profile", "email"), description="scopes that are asked for")
    oidc_algorithms: Algorithms = Field(
        default=("RS256",), description="signatures of ID tokens that are believed: RS256, ES256"
    )
    oidc_name_claim: str = Field(
        default="preferred_username", max_length=200, description="claim that names a person at their first sign-in"
    )
    oidc_groups_claim: str | None = Field(
        default=None, max_length=200, description="claim with a person's groups; empty leaves groups as they are here"
    )
    oidc_group_prefixes: Names = Field(default=(), description="groups are taken that begin so; empty means all")
    oidc_roles_claim: str | None = Field(
        default=None, max_length=200, description="claim that gives roles; empty leaves roles as they are here"
    )
    oidc_roles: Names = Field(default=(), description="value of that claim and the role it gives: `leads=reviewer`")
    oidc_create_people: bool = Field(default=True, description="whoever the provider signs in becomes a principal")
    oidc_timeout_seconds: float = Field(default=5.0, ge=0.1, le=30, description="longest wait for the provider")
    idempotency_hours: float = Field(default=72.0, gt=0, le=8760, description="how long an Idempotency-Key is kept")

    anchor_file: Path | None = Field(
        default=None, description="anchors of the log, outside the database; verification compares with them"
    )
    anchor_key_file: Path | None = Field(
        default=None, description="private key in PEM; only `signoff audit anchor` needs it"
    )
    anchor_public_key_file: Path | None = Field(
        default=None, description="public keys in PEM whose anchors are believed; without it, that of the private key"
    )

    webhook_ports: Names = Field(default=("443",), description="ports webhooks are sent to")
    webhook_allow: Names = Field(
        default=(), description="networks (CIDR) webhooks reach although they are private: `10.1.0.0/16`"
    )
    webhook_http: bool = Field(
        default=False, description="send webhooks by plain http too, to what `SIGNOFF_WEBHOOK_ALLOW` names"
    )
    webhook_ca_file: Path | None = Field(
        default=None, description="certificates in PEM that webhooks' receivers are trusted by, beside the system's"
    )
    webhook_timeout_seconds: float = Field(
        default=10.0, gt=0, le=60, description="time for one attempt: name, connection and answer"
    )
    webhook_give_up_hours: float = Field(
        default=72.0, gt=0, le=720, description="how long a webhook is tried before it is dead"
    )
    webhook_keep_days: float = Field(default=30.0, ge=1, le=3650, description="how long webhooks' deliveries are kept")

    environment: Literal["production", "test"] = Field(
        default="production", description="`test` lets processes fail on purpose"
    )
    failpoints: Path | None = Field(
        default=None, description="folder of armed failpoints, where `SIGNOFF_ENVIRONMENT` is `test`; else refused"
    )

    notify_services: Names = Field(
        default=DEFAULT_SERVICES, description="schemes of Apprise that a channel's URL may have"
    )
    notify_hosts: Names = Field(
        default=(),
        description="servers that people may name in channels of their own; an administrator's may name any",
    )
    notify_templates: Path | None = Field(
        default=None, description="folder with templates of messages that replace those of the same name"
    )
    notify_task_links: bool = Field(
        default=True, description="a message to one person that asks for a decision carries a link for them alone"
    )
    notify_burst: int = Field(
        default=10, ge=1, le=1000, description="messages a channel gets one by one before they become a digest"
    )
    notify_digest_seconds: float = Field(
        default=300.0, ge=1, le=86400, description="how far back these are counted, and the time between two digests"
    )
    notify_timeout_seconds: float = Field(default=20.0, gt=0, le=120, description="time for one message")
    notify_give_up_hours: float = Field(
        default=72.0, gt=0, le=720, description="how long a notification is tried before it is dead"
    )
    notify_keep_days: float = Field(default=30.0, ge=1, le=3650, description="how long notifications are kept")

    log_json: bool = Field(default=False, description="one JSON object a line, for machines")
    log_level: Level = Field(default="INFO", description="from this on is logged")

    @field_validator("failpoints")
    @classmethod
    def _only_in_tests(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        if folder is not None and info.data.get("environment") != "test":
            raise ValueError("processes fail on purpose only where SIGNOFF_ENVIRONMENT is test")
        return folder

    def require_database_url(self) -> str:
        """The database's URL. Raises ConfigurationError when none is set."""
        if self.database_url is None:
            raise ConfigurationError(
                "SIGNOFF_DATABASE_URL is not set",
                fix="set it to postgresql://user@host/database, or use signoff dev",
            )
        return self.database_url.get_secret_value()

    def webhook_policy(self) -> Policy:
        """Where webhooks may go. Raises ConfigurationError."""
        return Policy.of(ports=self.webhook_ports, inside=self.webhook_allow, plain_http=self.webhook_http)

    def notify_pace(self) -> Pace:
        """How many messages a channel gets before they become a digest."""
        return Pace(burst=self.notify_burst, window_seconds=self.notify_digest_seconds)

    def require_broker_url(self) -> str:
        """The broker's URL. Raises ConfigurationError when none is set."""
        if self.broker_url is None:
            raise ConfigurationError(
                "SIGNOFF_BROKER_URL is not set",
                fix="set it to redis://host:6379/0 or amqp://user:password@host//, or use signoff dev",
            )
        return self.broker_url.get_secret_value()


def load_settings() -> Settings:
    """The settings of this process's environment. Raises ConfigurationError naming each bad variable."""
    try:
        return Settings()
    except ValidationError as error:
        found = "; ".join(
            f"SIGNOFF_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}" for item in error.errors()
        )
        raise ConfigurationError(found, fix="correct the environment variable") from error
