"""Settings: ``GATEWAY_*`` variables of the environment, read once, frozen, each described.

Built only by the command line; everything below gets the values it needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GATEWAY_"
_LAST_PORT = 65535


class SettingsError(Exception):
    """A setting is wrong. The message names each variable and what it accepts, for the operator."""


def _listen_address(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:50051; port 0 takes a free one")
    return value


def _existing_file(value: Path) -> Path:
    if not value.is_file():
        raise ValueError("must be the path of an existing file, as gateway-worker simulate writes it")
    return value


class Settings(BaseSettings):
    """Settings of a worker."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    listen: Annotated[str, AfterValidator(_listen_address)] = Field(
        default="127.0.0.1:50051",
        description="Address of the gRPC API, HOST:PORT. There is no authentication yet: keep it on loopback.",
    )
    data_dir: Path = Field(
        default=Path("data"), description="Folder of everything the worker keeps. One worker a folder."
    )
    simulator: Annotated[Path, AfterValidator(_existing_file)] | None = Field(
        default=None, description="File that a simulator wrote. Sessions then talk to it instead of WhatsApp."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severe level that is logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="console for people, json for machines; auto: console on a terminal, else json."
    )
    sessions_per_engine: int = Field(
        default=50, ge=1, le=500, description="Clients in one engine process. A crash costs all of them a reconnect."
    )
    engine_max_rss_mib: int = Field(
        default=400, ge=100, le=65536, description="Resident memory at which an engine is recycled, MiB."
    )
    event_retention_days: float = Field(
        default=30, gt=0, le=3650, description="Age at which events leave the journal, days."
    )
    stream_stall_seconds: float = Field(
        default=30, ge=1, le=600, description="A stream whose client takes no event for so long is ended, seconds."
    )
    drain_seconds: float = Field(
        default=20, ge=1, le=600, description="Time that calls under way get at shutdown, seconds."
    )


def load_settings() -> Settings:
    """Read the environment and ``.env`` in the working directory.

    Raises:
        SettingsError: Some are wrong; all of them are named.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"{PREFIX}{str(detail['loc'][0]).upper()}: {_accepted(detail['msg'])}" for detail in error.errors()]
        raise SettingsError("\n".join(lines)) from None


def _accepted(message: str) -> str:
    """Pydantic's sentence, in the words of our own validators."""
    return message.removeprefix("Value error, ").replace("Input should be", "must be", 1)
