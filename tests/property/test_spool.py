"""Whatever is written, cut off or acknowledged: a spool gives back what is in it, in order, under its position."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_worker.engine.spool import format as layout
from gateway_worker.engine.spool.reader import SpoolReader, segments
from gateway_worker.engine.spool.writer import SpoolWriter

RECORDS = st.builds(
    layout.Record,
    handle=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    time_ns=st.integers(-(2**63), 2**63 - 1),
    code=st.integers(0, 2**16 - 1),
    payload=st.binary(max_size=200),
)
MANY = st.lists(RECORDS, max_size=30)
SEGMENT = 400
"""Bytes of a segment here: a handful of records."""


def nothing() -> None:
    """Take no notice of an append."""


def write(folder: Path, records: list[layout.Record], **options: object) -> list[int]:
    """Append records and close the spool; returns their positions."""
    writer = SpoolWriter(folder, nothing, segment_size=SEGMENT, **options)  # type: ignore[arg-type]
    try:
        return [writer.append(record) for record in records]
    finally:
        writer.close()


def read_all(folder: Path, after: int = 0, at_a_time: int = 7) -> list[tuple[int, layout.Record]]:
    """Read a spool to its end."""
    reader = SpoolReader(folder, after)
    found: list[tuple[int, layout.Record]] = []
    while batch := reader.read(at_a_time, 1 << 20):
        found += batch
    reader.close()
    return found


@given(RECORDS, st.binary(max_size=20), st.binary(max_size=20))
def test_a_record_is_what_it_was(record: layout.Record, before: bytes, behind: bytes) -> None:
    """Encoding and decoding is the identity, wherever in a buffer the record is."""
    data = layout.encode(record)
    assert layout.decode(before + data + behind, len(before)) == (record, len(before) + len(data))
    assert layout.needed(data, 0) == len(data)


@given(RECORDS, st.data())
def test_a_cut_or_changed_record_is_torn(record: layout.Record, data: st.DataObject) -> None:
    """Neither a prefix nor a record with one bit changed is taken for a record."""
    encoded = layout.encode(record)
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(layout.TornRecordError):
        layout.decode(encoded[:cut], 0)
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    changed = bytearray(encoded)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(layout.TornRecordError):
        layout.decode(bytes(changed), 0)


@given(st.binary(max_size=300))
def test_garbage_is_never_a_record(garbage: bytes) -> None:
    """Random bytes are torn, not an exception of another kind."""
    with pytest.raises(layout.TornRecordError):
        layout.decode(garbage, 0)


@given(st.integers(1, 10**19))
def test_names_of_segments_sort_by_position(first: int) -> None:
    """A segment's name gives its position back; names of other files give none."""
    assert layout.first_position(layout.segment_name(first)) == first
    assert layout.segment_name(first) < layout.segment_name(first + 1)
    for name in ("lock", "x.spool", ".spool", "0.spool", "-1.spool", f"{first}.spoo"):
        assert layout.first_position(name) is None


@given(MANY, MANY, st.data())
def test_positions_go_on_over_restarts(
    first: list[layout.Record], second: list[layout.Record], data: st.DataObject
) -> None:
    """Positions count from 1 without gaps over segments and restarts, and reading may begin anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "spool")
        positions = write(folder, first) + write(folder, second)
        expected = list(enumerate(first + second, 1))
        after = data.draw(st.integers(0, len(expected)))
        assert positions == [position for position, _ in expected]
        assert read_all(folder, after) == expected[after:]


@given(st.lists(RECORDS, min_size=1, max_size=12), st.data())
def test_a_torn_tail_costs_only_what_was_not_written(records: list[layout.Record], data: st.DataObject) -> None:
    """Cut anywhere in the newest segment, a spool keeps every whole record, and goes on behind them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "spool")
        write(folder, records)
        first, newest = segments(folder)[-1]
        size = newest.stat().st_size
        with newest.open("r+b") as file:
            file.truncate(data.draw(st.integers(0, size)))
        kept = read_all(folder)
        assert kept == list(enumerate(records, 1))[: len(kept)]
        assert len(kept) >= first - 1

        assert write(folder, records[:1]) == [len(kept) + 1]
        assert read_all(folder) == [*kept, (len(kept) + 1, records[0])]


@given(MANY, st.data())
def test_acknowledging_forgets_nothing_that_is_wanted(records: list[layout.Record], data: st.DataObject) -> None:
    """After any acknowledgement what follows is still there, and positions still go on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "spool")
        writer = SpoolWriter(folder, nothing, segment_size=SEGMENT)
        expected = [(writer.append(record), record) for record in records]
        through = data.draw(st.integers(0, len(records)))
        writer.discard(through)
        assert read_all(folder, through) == expected[through:]
        assert (writer.bytes_after(through) == 0) == (through == len(records))
        writer.close()
        assert write(folder, [layout.Record("", 0, 0, b"")]) == [len(records) + 1]


@given(MANY, st.lists(st.one_of(st.none(), st.integers(0, 60)), max_size=60))
def test_a_disk_that_fills_up_tears_nothing(records: list[layout.Record], faults: list[int | None]) -> None:
    """A write that fails after any number of bytes leaves the spool as it was; the retried record is there once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "spool")
        writer = SpoolWriter(folder, nothing, segment_size=SEGMENT, write=failing(faults))
        for record in records:
            while True:
                with contextlib.suppress(OSError):
                    writer.append(record)
                    break
                assert [found for _, found in read_all(folder)] == records[: writer.last_position]
        writer.close()
        assert read_all(folder) == list(enumerate(records, 1))


def failing(faults: list[int | None]) -> Callable[[int, bytes | memoryview], int]:
    """``os.write`` on a disk that lets so many bytes of a write through and then is full; None: a write that works."""
    import os  # noqa: PLC0415 - the real one, beside its imitation

    pending = list(faults)
    full = False

    def write_some(descriptor: int, data: bytes | memoryview) -> int:
        nonlocal full
        if full:
            full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        limit = pending.pop(0) if pending else None
        if limit is None or limit >= len(data):
            return os.write(descriptor, data)
        full = True
        if limit == 0:
            full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data[:limit])

    return write_some
