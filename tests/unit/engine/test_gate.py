"""Calls and writes of the library's maps never meet."""

from __future__ import annotations

import threading
import time

from gateway_worker.engine.gate import MapsGate


def test_a_write_waits_until_calls_have_read_the_maps() -> None:
    """A call that has just entered holds a write up; one that entered long ago does not, however long it takes."""
    gate = MapsGate(settle=0.1)
    leave = threading.Event()
    entered = threading.Event()

    def call() -> None:
        with gate.reading():
            entered.set()
            leave.wait(5)

    caller = threading.Thread(target=call)
    caller.start()
    entered.wait(5)
    begun = time.monotonic()
    with gate.writing():
        assert 0.05 < time.monotonic() - begun < 1
        assert caller.is_alive()
    begun = time.monotonic()
    with gate.writing():
        assert time.monotonic() - begun < 0.05
    leave.set()
    caller.join(5)


def test_no_call_enters_while_the_maps_are_written() -> None:
    """A call waits at the gate, and goes on when it opens."""
    gate = MapsGate(settle=0.001)
    passed = threading.Event()

    def call() -> None:
        with gate.reading():
            passed.set()

    gate.close()
    caller = threading.Thread(target=call)
    caller.start()
    assert not passed.wait(0.1)
    gate.open()
    assert passed.wait(5)
    caller.join(5)


def test_one_write_at_a_time() -> None:
    """Writers take turns."""
    gate = MapsGate(settle=0.001)
    inside = 0
    most = 0

    def write() -> None:
        nonlocal inside, most
        for _ in range(20):
            with gate.writing():
                inside += 1
                most = max(most, inside)
                time.sleep(0.0005)
                inside -= 1

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(10)
    assert most == 1


def test_a_call_that_ends_lets_a_write_in_at_once() -> None:
    """A write does not wait for a call that is over."""
    gate = MapsGate(settle=5)
    entered = threading.Event()

    def call() -> None:
        with gate.reading():
            entered.set()
            time.sleep(0.05)

    caller = threading.Thread(target=call)
    caller.start()
    entered.wait(5)
    begun = time.monotonic()
    with gate.writing():
        assert time.monotonic() - begun < 2
    caller.join(5)
