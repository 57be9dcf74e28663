"""The command line against a real worker and a real simulator: what the README tells people to type."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import RunningSimulator, running_worker

PROGRAM = Path(sys.executable).with_name("gateway-worker")
PHONE, CONTACT = "6281200000001", "6281300000001"


@dataclass(frozen=True)
class Shell:
    """Where commands are typed."""

    environment: dict[str, str]
    folder: Path

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command."""
        return await asyncio.create_subprocess_exec(
            PROGRAM, *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=self.environment, cwd=self.folder
        )

    async def run(self, *arguments: str, code: int = 0) -> str:
        """Run a command; return what it printed. Fails when it ends with another exit code."""
        process = await self.start(*arguments)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == code, err.decode()
        assert b"Traceback" not in err
        return out.decode()

    async def json(self, *arguments: str) -> Any:
        """Run a command that prints one line of JSON; return it."""
        return json.loads(await self.run(*arguments, "--json"))


async def json_line(process: asyncio.subprocess.Process) -> Any:
    """Return the next line of JSON that a command prints."""
    assert process.stdout is not None
    return json.loads(await asyncio.wait_for(process.stdout.readline(), 60))


@pytest.fixture
async def shell(simulator: RunningSimulator, tmp_path: Path) -> AsyncIterator[Shell]:
    """Return a shell with a worker to talk to."""
    async with running_worker(data_dir=tmp_path / "data", simulator=simulator) as worker:
        environment = os.environ | {"GATEWAY_TARGET": worker.target, "GATEWAY_SIMULATOR": str(simulator.file)}
        yield Shell(environment, tmp_path)


@pytest.mark.timeout(180)
async def test_pair_send_and_follow(shell: Shell) -> None:
    """Link with pair, send with send, read the echo with events, log out with sessions."""
    await shell.run("simulate", "phone", "add", PHONE, "--name", "Budi")
    await shell.run("simulate", "contact", "add", CONTACT, "--echo")
    following = await shell.start("events", "--follow", "--from", "earliest", "--kind", "message", "--json")
    pairing = await shell.start("pair", "alpha", "--create", "--png", "qr.png", "--json")
    code = (await json_line(pairing))["pairing"]
    assert code["qr"].startswith("https://wa.me/")
    assert (shell.folder / "qr.png").read_bytes().startswith(b"\x89PNG")
    await shell.run("simulate", "scan", PHONE, "--session", "alpha")
    session = await json_line(pairing)
    assert await asyncio.wait_for(pairing.wait(), 30) == 0
    assert session["account"]["phoneNumber"] == f"+{PHONE}"
    assert session["status"]["state"] == "SESSION_STATE_CONNECTED"
    assert not (shell.folder / "qr.png").exists()

    sent = await shell.json("send", "text", "alpha", "081300000001", "Hello", "--idempotency-key", "once")
    again = await shell.json("send", "text", "alpha", "081300000001", "Hello", "--idempotency-key", "once")
    assert again["id"] == sent["id"]
    assert (sent["repeatedCall"], again["repeatedCall"]) == (False, True)
    echo = await json_line(following)
    assert echo["message"]["content"]["text"]["text"] == "Hello"
    inbox = await shell.json("simulate", "inbox", CONTACT)
    assert [message["text"] for message in inbox["messages"]] == ["Hello"]
    following.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(following.wait(), 30) == 130

    replayed = await shell.run("events", "--from", "consumer:test", "--kind", "message", "--kind", "paired")
    assert "linked to +6281200000001" in replayed
    assert await shell.run("events", "--from", "consumer:test", "--kind", "message", "--kind", "paired") == ""
    await shell.run("sessions", "logout", "alpha")
    refused = await shell.run("send", "text", "alpha", "081300000001", "too late", code=4)
    assert refused == ""


@pytest.mark.timeout(120)
async def test_health_and_sessions(shell: Shell) -> None:
    """The worker is well, and sessions are made, shown and deleted."""
    assert "serving" in await shell.run("health")
    await shell.run("sessions", "create", "beta", "--label", "owner=acme")
    assert "beta" in await shell.run("sessions", "list", "--state", "created")
    assert "owner=acme" in await shell.run("sessions", "show", "beta")
    await shell.run("sessions", "delete", "beta", "--yes")
    await shell.run("sessions", "show", "beta", code=1)


@pytest.mark.timeout(120)
async def test_simulate_runs_in_the_foreground_until_it_is_ended(tmp_path: Path) -> None:
    """It says when it is ready, is found by its file, ends with 0 on SIGTERM, and takes the file along."""
    shell = Shell({name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}, tmp_path)
    running = await shell.start("simulate", "run", "--file", "here/simulator.json", "--json")
    ready = await json_line(running)
    assert ready["event"] == "ready"
    added = await shell.json("simulate", "phone", "add", "--file", "here/simulator.json")
    assert added["number"]
    running.terminate()
    assert await asyncio.wait_for(running.wait(), 30) == 0
    assert not (tmp_path / "here" / "simulator.json").exists()
    await shell.run("simulate", "stats", "--file", "here/simulator.json", code=3)
