"""What the kernel tells of processes: children, memory, CPU time (Linux, ``/proc``)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_KIB: Final = 1024

# Fields of /proc/PID/stat behind the command's closing bracket, counted from 0; see proc(5).
_STATE: Final = 0
_PARENT: Final = 1
_USER_TIME: Final = 11
_SYSTEM_TIME: Final = 12


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process in bytes.

    Attributes:
        rss: Resident set size; pages shared with other processes count in full.
        pss: Proportional set size; pages shared with n processes count for 1/n.
    """

    rss: int
    pss: int


def _stat(pid: int) -> list[str]:
    # The command name may hold spaces and brackets, so the fields are counted from its last bracket.
    text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        return _stat(pid)[_STATE] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def command_line(pid: int) -> list[str]:
    """The program and arguments of a process; empty when it is gone."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [argument.decode(errors="replace") for argument in raw.split(b"\0")[:-1]]


def children(pid: int) -> list[int]:
    """Process ids of the living children of a process, oldest id first; none when it is gone."""
    found = []
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = _stat(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):  # it ended while the folder was being listed
            continue
        if int(fields[_PARENT]) == pid and fields[_STATE] not in "ZX":
            found.append(int(entry.name))
    return sorted(found)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, user and system.

    Raises:
        FileNotFoundError: There is no such process.
    """
    fields = _stat(pid)
    return (int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])) / _TICKS


def memory(pid: int) -> Memory:
    """Memory of a process.

    Raises:
        FileNotFoundError: There is no such process.
    """
    sizes = {}
    for line in (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]:
        name, value, *_ = line.split()
        sizes[name] = int(value) * _KIB
    return Memory(rss=sizes["Rss:"], pss=sizes["Pss:"])
