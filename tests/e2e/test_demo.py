"""The demonstration, as a newcomer runs it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from pathlib import Path

import pytest

from tests.support import procfs

PROGRAM = Path(sys.executable).with_name("gateway-worker")


def descendants(process: int) -> list[int]:
    """Return a process's children, their children, and so on."""
    children = procfs.children(process)
    return children + [each for child in children for each in descendants(child)]


@pytest.mark.timeout(120)
async def test_once_with_json_runs_the_main_job_unattended(tmp_path: Path) -> None:
    """It links, sends, receives, loses its engine and comes back; the last line of its output says so in figures."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "GATEWAY_LISTEN": "not for the demo"}
    demo = await asyncio.create_subprocess_exec(
        *(PROGRAM, "demo", "--once", "--json"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
    )
    out, err = await demo.communicate()
    assert demo.returncode == 0, err.decode()
    assert err == b""
    lines = out.decode().splitlines()
    figures = json.loads(lines[-1])
    assert figures["ok"] is True
    assert figures["seconds"] < 30
    assert 0 < figures["reconnect_seconds"] <= 5
    assert figures["messages_sent"] == 3
    assert figures["messages_received"] == 1
    assert figures["events"] >= 15
    assert (figures["events_lost"], figures["events_repeated"]) == (0, 0)
    for call in ("CreateSession", "ConnectSession", "SendText", "SendImage", "SessionEvents", "kill -9"):
        assert any(line.startswith(f"  {call} ") for line in lines), call
    assert "\x1b" not in out.decode()
    assert list(tmp_path.iterdir()) == [], "it cleans up"


@pytest.mark.timeout(120)
async def test_ctrl_c_ends_it_and_everything_that_it_started(tmp_path: Path) -> None:
    """On a terminal, where it waits for a person, Ctrl-C leaves nothing running and nothing behind."""
    ours, theirs = pty.openpty()
    demo = await asyncio.create_subprocess_exec(
        *(PROGRAM, "demo"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "50"},
    )
    os.close(theirs)
    shown = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:  # its end is how Linux tells that nobody holds the terminal any more
            loop.remove_reader(ours)

    loop.add_reader(ours, read)
    try:
        async with asyncio.timeout(60):
            while b"takes out the phone" not in shown:
                await asyncio.sleep(0.05)
                assert demo.returncode is None, shown.decode()
        started = descendants(demo.pid)
        assert len(started) >= 3, "a simulator, a worker, an engine"
        demo.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(demo.wait(), 30) == 130
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if demo.returncode is None:
            demo.kill()
            await demo.wait()
    assert not [process for process in started if procfs.is_alive(process)]
    assert list(tmp_path.iterdir()) == []
    assert b"Traceback" not in shown
