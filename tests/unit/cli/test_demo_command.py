"""The command ``demo`` when something fails; its success is an end-to-end test."""

from __future__ import annotations

import json

import pytest

from gateway_worker.cli.demo import command
from gateway_worker.cli.demo.farewell import next_steps, summary
from gateway_worker.cli.demo.figures import Figures
from gateway_worker.cli.demo.picture import make_picture
from gateway_worker.cli.output import Output
from tests.support.command_line import Cli


def test_a_failure_is_reported_with_logs_and_a_last_line_of_json(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed, the last lines of the processes' logs, ok: false, exit code 1."""
    monkeypatch.setattr(command, "SIMULATOR_MODULE", "json.nothing_here")
    result = cli("demo", "--once", "--json")
    assert result.code == 1
    assert "error: simulator ended with exit code 1 before it was ready" in result.err
    assert "No module named json.nothing_here" in result.err
    last = json.loads(result.out.splitlines()[-1])
    assert last["ok"] is False
    assert last["error"] == "simulator ended with exit code 1 before it was ready"
    assert last["scene"] == "The processes"
    assert last["reconnect_seconds"] is None


def test_without_json_a_failure_is_for_people_only(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No JSON where none was asked for."""
    monkeypatch.setattr(command, "SIMULATOR_MODULE", "json.nothing_here")
    result = cli("demo", "--once")
    assert result.code == 1
    assert "{" not in result.out


def test_a_summary_without_a_figure_leaves_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    """Values that were not measured are not shown as nought."""
    Output(as_json=False).out.print(summary(Figures(text_ack_ms=12.4, reconnect_seconds=1.26, events=18)))
    shown = " ".join(capsys.readouterr().out.split())
    assert "acknowledged by WhatsApp's server 12 ms" in shown
    assert "engine killed to connected again 1.3 s" in shown
    assert "scan to connected —" in shown
    assert "events / lost / repeated 18 / 0 / 0" in shown


def test_what_comes_next_is_a_real_phone(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer is told how to go on."""
    Output(as_json=False).out.print(next_steps())
    assert "pair my-phone --create" in capsys.readouterr().out


def test_the_picture_is_a_small_jpeg() -> None:
    """It is what SendImage takes, and no burden."""
    picture = make_picture()
    assert picture.startswith(b"\xff\xd8\xff")
    assert 1000 < len(picture) < 50_000
