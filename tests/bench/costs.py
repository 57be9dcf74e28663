"""CPU time by process, so that a benchmark says where a message's time goes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.bench.world import World
from tests.support import procfs


class Costs:
    """CPU seconds by role.

    Args:
        roles: Process ids by role.

    Attributes:
        seconds: What each role used, in all blocks together.
    """

    def __init__(self, roles: Mapping[str, Sequence[int]]) -> None:
        self._roles = roles
        self.seconds: dict[str, float] = dict.fromkeys(roles, 0.0)

    @classmethod
    def of_gateway(cls, world: World) -> Costs:
        """Everything that a message through the API passes."""
        return cls(
            {
                "simulator": [world.simulator.pid],
                "worker": [world.worker.pid],
                "engine": world.worker.engine_pids("session"),
                "client": [os.getpid()],
            }
        )

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add what is used during the block."""
        before = self._read()
        yield
        for role, used in self._read().items():
            self.seconds[role] += used - before[role]

    def _read(self) -> dict[str, float]:
        return {
            role: sum(procfs.cpu_seconds(pid) for pid in pids if procfs.is_alive(pid))
            for role, pids in self._roles.items()
        }
