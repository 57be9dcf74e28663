"""What an engine may be started with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway_worker.engine.lifeline import OrphanedError, die_with
from gateway_worker.engine.options import UnusableStartError, check_environment, parse_options, read_simulator

REQUIRED = ["--id", "e", "--socket", "/run/e.sock", "--spool", "/spool/e", "--parent", "17"]


def test_options_have_defaults() -> None:
    """What need not be said."""
    options = parse_options(REQUIRED)
    assert (options.engine_id, options.parent, options.simulator) == ("e", 17, None)
    assert (options.socket, options.spool) == (Path("/run/e.sock"), Path("/spool/e"))
    assert (options.max_sessions, options.log_level) == (50, "INFO")


@pytest.mark.parametrize(
    "arguments",
    [REQUIRED[2:], [*REQUIRED, "--max-sessions", "0"], [*REQUIRED, "--socket", "/" + "x" * 107], [*REQUIRED, "--what"]],
)
def test_wrong_options_are_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A missing, unknown or impossible option ends the program with status 2 and its name."""
    with pytest.raises(SystemExit) as ended:
        parse_options(arguments)
    assert ended.value.code == 2
    assert "--" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, "", "on", "OFF"])
def test_the_bot_tag_must_be_off(value: str | None) -> None:
    """Anything but off would mark messages as an AI's, or be at the mercy of how the library reads it (trap 10)."""
    with pytest.raises(UnusableStartError, match="NEONIZE_BOT_TAG=off"):
        check_environment({} if value is None else {"NEONIZE_BOT_TAG": value})
    check_environment({"NEONIZE_BOT_TAG": "off"})


def test_a_simulator_must_be_the_one_of_the_environment(tmp_path: Path) -> None:
    """File and environment agree, or the engine would talk to WhatsApp where a simulator was asked for."""
    file = tmp_path / "simulator.json"
    file.write_text(json.dumps({"proxy": "http://127.0.0.1:1", "ca": "ca.pem", "root": "ab" * 32}))
    right = {"HTTPS_PROXY": "http://127.0.0.1:1", "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    assert read_simulator(file, right).root == b"\xab" * 32
    for name, value in (("HTTPS_PROXY", "http://127.0.0.1:2"), ("SSL_CERT_FILE", "/other.pem")):
        with pytest.raises(UnusableStartError, match=name):
            read_simulator(file, right | {name: value})
        with pytest.raises(UnusableStartError, match=name):
            read_simulator(file, {other: right[other] for other in right if other != name})


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"proxy": "p", "ca": "c", "root": "xyz"}', '{"proxy": "p", "ca": "c", "root": "ab"}']
)
def test_what_does_not_describe_a_simulator(tmp_path: Path, content: str) -> None:
    """A file that is none, or whose root key is none, is refused by its name."""
    file = tmp_path / "simulator.json"
    file.write_text(content)
    with pytest.raises(UnusableStartError, match=r"simulator\.json"):
        read_simulator(file, {})
    with pytest.raises(UnusableStartError, match="missing"):
        read_simulator(tmp_path / "missing", {})


def test_an_orphan_does_not_start() -> None:
    """A process whose parent is another one by now refuses; nothing would end it any more."""
    with pytest.raises(OrphanedError):
        die_with(os.getppid() + 1)


def test_a_child_dies_with_its_parent() -> None:
    """The kernel kills the child when the parent is killed."""
    child = "import os, sys, time; from gateway_worker.engine.lifeline import die_with; "
    child += "die_with(os.getppid()); print('tied', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"tied\n"
        begun = time.monotonic()
        process.kill()
        assert process.stdout.read() == b""  # ends when the child, which holds the pipe too, is gone
        assert time.monotonic() - begun < 30
