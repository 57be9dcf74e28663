"""The demo's child processes: ready, failing, and ended in any case."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway_worker.cli.demo import processes
from gateway_worker.cli.demo.errors import DemoError
from gateway_worker.cli.demo.processes import Children, engines_of

READY = """
    import json, os, signal, sys, time
    print("a line that says nothing")
    print(json.dumps({"event": "ready", "arguments": sys.argv[1:], "settings": sorted(
        name for name in os.environ if name.startswith("GATEWAY_"))}), flush=True)
"""
WAIT = """
    time.sleep(60)
"""
STUBBORN = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a module ``played`` that children can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("GATEWAY_LISTEN", "what the user has set")
    return tmp_path / "played.py"


def write(module: Path, *parts: str) -> None:
    """Write the module."""
    module.write_text("".join(textwrap.dedent(part) for part in parts))


def is_gone(pid: int) -> bool:
    """Say whether a process no longer exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_child_is_ready_when_it_says_so_and_ends_with_the_context(module: Path, tmp_path: Path) -> None:
    """It gets its arguments and settings, none of this process's settings, and SIGTERM in the end."""
    write(module, READY, WAIT)
    children = Children(tmp_path)
    async with children.running("actor", "played", "--a", "b", settings={"GATEWAY_DATA_DIR": "x"}) as child:
        assert child.ready["arguments"] == ["--a", "b"]
        assert child.ready["settings"] == ["GATEWAY_DATA_DIR"]
        assert not is_gone(child.pid)
    assert is_gone(child.pid)


async def test_a_child_that_fails_at_its_start_is_named_with_its_last_words(module: Path, tmp_path: Path) -> None:
    """What it wrote to standard error is kept for the report."""
    write(module, "raise SystemExit('no luck today')")
    children = Children(tmp_path)
    with pytest.raises(DemoError, match="actor ended with exit code 1 before it was ready"):
        async with children.running("actor", "played", settings={}):
            pytest.fail("it was taken for ready")
    assert children.all[0].log_tail() == ["no luck today"]


async def test_a_child_that_is_never_ready_is_given_up_and_ended(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is a limit to waiting."""
    monkeypatch.setattr(processes, "START_TIMEOUT", 1.0)
    write(module, "import time\nprint('[]', flush=True)\ntime.sleep(60)")
    children = Children(tmp_path)
    with pytest.raises(DemoError, match="actor was not ready within 1 s"):
        async with children.running("actor", "played", settings={}):
            pytest.fail("it was taken for ready")
    assert is_gone(children.all[0].pid)


async def test_a_child_that_ignores_sigterm_is_killed(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left running."""
    monkeypatch.setattr(processes, "STOP_TIMEOUT", 0.3)
    write(module, "import signal", STUBBORN, READY, WAIT)
    async with Children(tmp_path).running("actor", "played", settings={}) as child:
        pass
    assert is_gone(child.pid)


async def test_a_child_ends_when_the_demo_is_cancelled(module: Path, tmp_path: Path) -> None:
    """Ctrl-C is a cancellation here."""
    write(module, READY, WAIT)
    children, entered = Children(tmp_path), asyncio.Event()

    async def perform() -> None:
        async with children.running("actor", "played", settings={}):
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(perform())
    await asyncio.wait_for(entered.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert is_gone(children.all[0].pid)


def test_a_child_ends_by_itself_when_its_starter_is_gone(module: Path, tmp_path: Path) -> None:
    """However the demo ends, SIGKILL included, the kernel closes the pipe, and the child drains."""
    drained = tmp_path / "drained"
    write(
        module,
        f"""
        import signal, sys, time
        def drain(number, frame):
            open({str(drained)!r}, "w").close()
            sys.exit(0)
        signal.signal(signal.SIGTERM, drain)
        """,
        READY,
        WAIT,
    )
    command = [sys.executable, "-m", "gateway_worker.cli.tied", "played"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        while '"ready"' not in child.stdout.readline():
            assert child.poll() is None
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(timeout=30) == 0
    assert drained.exists()


@pytest.fixture
def descendants() -> Iterator[subprocess.Popen[str]]:
    """Start a child with a child of its own, both with an engine's command line, and one that is none."""
    sleep = "import time; time.sleep(60)"
    program = (
        "import subprocess, sys\n"
        f"command = [sys.executable, '-c', {sleep!r}]\n"
        "children = [subprocess.Popen([*command, name]) for name in ('gateway_worker.engine', 'something.else')]\n"
        "print(children[0].pid, children[1].pid, flush=True)\n"
        "try: children[0].wait()\n"
        "finally: [(each.kill(), each.wait()) for each in children]\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        yield parent
        parent.send_signal(signal.SIGINT)
        parent.wait(timeout=30)


def test_engines_are_found_among_a_workers_descendants_only(descendants: subprocess.Popen[str]) -> None:
    """So that only the demo's own engine is killed, whatever else runs on the machine."""
    assert descendants.stdout is not None
    engine, other = map(int, descendants.stdout.readline().split())
    ends = time.monotonic() + 30
    while engines_of(descendants.pid) != [engine] and time.monotonic() < ends:  # until it has executed its program
        time.sleep(0.02)
    assert engines_of(descendants.pid) == [engine]
    assert engine in engines_of(os.getpid())
    assert engines_of(other) == []


def test_without_proc_the_demo_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems are told so, rather than that there are no engines."""
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    with pytest.raises(DemoError, match="needs Linux"):
        engines_of(1)
