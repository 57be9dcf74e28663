"""Pools of scripted engines, and what they are given."""

from __future__ import annotations

import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gateway_worker.adapters.engine.config import EngineConfig
from gateway_worker.adapters.engine.pool import EnginePool
from gateway_worker.ports.engines import ClientSpec
from tests.support import scripted_engine
from tests.support.recording_listener import RecordingListener
from tests.support.scripted_engine import Script
from wagateway.engine.v1 import engine_pb2
from wagateway.worker.v1 import content_pb2


def spec(handle: str, *, linked: bool = True) -> ClientSpec:
    """What a client is started with."""
    return ClientSpec(handle=handle, database_path=Path("/nowhere") / handle, device_name="Test", linked=linked)


def text(handle: str, body: str) -> engine_pb2.SendMessage:
    """A text message, which for a scripted engine is an order."""
    content = content_pb2.Content(text=content_pb2.TextContent(text=body))
    return engine_pb2.SendMessage(handle=handle, chat="2@s.whatsapp.net", content=content)


class PoolWorld:
    """A pool, its listener, and what its engines noted down.

    Args:
        folder: Everything on disk is below it.
        stack: Closes the pools.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.spools = folder / "spools"
        self.listener = RecordingListener()
        self._record = folder / "record"
        self._stack = stack

    def config(self, *, script: dict[str, Any] | None = None, **settings: Any) -> EngineConfig:
        """Settings for scripted engines, impatient enough for tests."""
        chosen = Script(record=str(self._record), **(script or {}))
        program = (sys.executable, str(Path(scripted_engine.__file__)), "--script", json.dumps(asdict(chosen)))
        defaults: dict[str, Any] = {
            "spool_directory": self.spools,
            "command": program,
            "housekeeping_interval": 0.05,
            "restart_backoff": 0.02,
            "redelivery_backoff": 0.01,
            "settle_timeout": 2.0,
            "exit_grace": 2.0,
            "drain_grace": 10.0,
        }
        return EngineConfig(**(defaults | settings))

    async def pool(self, *, script: dict[str, Any] | None = None, **settings: Any) -> EnginePool:
        """A pool that is open until the test ends."""
        return await self._stack.enter_async_context(EnginePool(self.config(script=script, **settings), self.listener))

    def noted(self, what: str) -> list[dict[str, Any]]:
        """What engines noted down under a name."""
        if not self._record.exists():
            return []
        lines = self._record.read_text(encoding="utf-8").splitlines(keepends=True)
        notes = [json.loads(line) for line in lines if line.endswith("\n")]  # the last one may be half written
        return [note for note in notes if note["what"] == what]

    def folders(self) -> set[str]:
        """Names in the spool directory."""
        return {entry.name for entry in self.spools.iterdir()}
