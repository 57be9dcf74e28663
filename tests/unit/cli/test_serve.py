"""``gateway-worker serve``: what it says before the worker takes over, and when that cannot start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway_worker.app import StartupError
from gateway_worker.cli.commands import serve
from gateway_worker.settings import Settings
from tests.support.command_line import Cli


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where no ``.env`` is read."""
    monkeypatch.chdir(tmp_path)


def test_wrong_settings_are_named_with_what_is_accepted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started; each variable is named."""
    monkeypatch.setenv("GATEWAY_LISTEN", "nowhere")
    monkeypatch.setenv("GATEWAY_LOG_LEVEL", "LOUD")
    result = cli("serve")
    assert result.code == 2
    assert "GATEWAY_LISTEN: must be HOST:PORT" in result.words
    assert "GATEWAY_LOG_LEVEL: must be" in result.words


def test_a_worker_that_cannot_start_says_why(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator's message is passed on, without a traceback."""

    def run(_settings: Settings, **_: Callable[[str], None]) -> None:
        raise StartupError("the folder data is in use by another worker")

    monkeypatch.setattr(serve, "run", run)
    result = cli("serve")
    assert (result.code, result.words) == (1, "error: the folder data is in use by another worker")


def start(_settings: Settings, *, ready: Callable[[str], None]) -> None:
    """Be ready, and end as after a signal."""
    ready("127.0.0.1:50099")


def test_ready_is_said_with_the_address(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """People are told where it listens, what it talks to, and what to do next."""
    monkeypatch.setattr(serve, "run", start)
    monkeypatch.delenv("GATEWAY_SIMULATOR", raising=False)
    result = cli("serve")
    assert result.code == 0
    assert "ready on 127.0.0.1:50099" in result.words
    assert "for WhatsApp" in result.words
    assert "gateway-worker pair my-phone --create --target 127.0.0.1:50099" in result.words


def test_a_simulator_is_named_so_that_nobody_takes_it_for_whatsapp(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is sent through a simulator reaches nobody."""
    (tmp_path / "sim.json").write_text("{}")
    monkeypatch.setenv("GATEWAY_SIMULATOR", "sim.json")
    monkeypatch.setattr(serve, "run", start)
    assert "for the simulator of sim.json" in cli("serve").words


def test_programs_read_one_line_of_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor waits for this line."""
    monkeypatch.setattr(serve, "run", start)
    assert cli("serve", "--json").json() == {"event": "ready", "target": "127.0.0.1:50099"}
