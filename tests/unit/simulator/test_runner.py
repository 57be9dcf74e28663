"""The simulator as a process: its files, its ready line, its end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from gateway_worker.simulator.runner import Simulator
from gateway_worker.simulator.settings import SimulatorSettings
from tests.support.wa_client import ClientKeys, open_client

if TYPE_CHECKING:
    from pathlib import Path


async def test_the_address_file_lives_as_long_as_the_simulator(tmp_path: Path) -> None:
    """It names everything that a worker needs, only its owner may read it, and it goes with the simulator."""
    file = tmp_path / "new directory" / "simulator.json"
    async with Simulator(SimulatorSettings(file=file)) as simulator:
        address = json.loads(file.read_text())
        assert set(address) == {"proxy", "ca", "root", "control"}
        assert address["proxy"].startswith("http://127.0.0.1:")
        assert address["control"] == simulator.control_target
        assert len(bytes.fromhex(address["root"])) == 32
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert sorted(path.name for path in file.parent.iterdir()) == ["simulator.json", "simulator.json.pem"]
        async with open_client(file, ClientKeys()) as client:
            assert await client.code()
    assert list(file.parent.iterdir()) == []


async def test_two_simulators_live_side_by_side(tmp_path: Path) -> None:
    """Each has its own keys: a client of the one does not believe the other."""
    async with (
        Simulator(SimulatorSettings(file=tmp_path / "a")) as first,
        Simulator(SimulatorSettings(file=tmp_path / "b")) as second,
    ):
        addresses = [json.loads(simulator.file.read_text()) for simulator in (first, second)]
        assert addresses[0]["root"] != addresses[1]["root"]
        assert addresses[0]["proxy"] != addresses[1]["proxy"]


async def test_a_taken_port_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    """Neither the proxy's port nor the control API's can be had: the start fails, with nothing left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for settings in (
            SimulatorSettings(file=tmp_path / "a", port=port),
            SimulatorSettings(file=tmp_path / "a", control_port=port),
        ):
            with pytest.raises(OSError, match=r"."):
                await Simulator(settings).__aenter__()
    assert list(tmp_path.iterdir()) == []


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway_worker.simulator", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_process_says_when_it_is_ready_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """One line of JSON, then service; a signal ends it with 0 and removes its files."""
    file = tmp_path / "simulator.json"
    process = await _start("--file", str(file))
    assert process.stdout is not None
    ready = json.loads(await process.stdout.readline())
    assert (ready["event"], ready["file"]) == ("ready", str(file))
    assert ready["control"] == json.loads(file.read_text())["control"]
    async with open_client(file, ClientKeys()) as client:
        await client.code()
        process.send_signal(number)
        output, errors = await asyncio.wait_for(process.communicate(), 10)

    assert (process.returncode, output, errors) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


async def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A wrong value is a usage error, a port that is taken an error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for arguments, code, text in (
            (["--port", "70000"], 2, b"port is 0 to 65535"),
            (["--control-port", str(port)], 1, b"cannot listen"),
        ):
            process = await _start("--file", str(tmp_path / "x"), *arguments)
            output, errors = await asyncio.wait_for(process.communicate(), 20)
            assert (process.returncode, output) == (code, b"")
            assert text in errors
            assert b"Traceback" not in errors
