"""How an engine starts, and how it refuses to: with the real library, and nothing to connect to."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from grpc import aio

from tests.support.engine_process import DEAD_PROXY, EngineProcess, make_database, simulator_environment
from wagateway.engine.v1 import engine_pb2, engine_pb2_grpc


def refusal(tmp_path: Path, *arguments: str, environment: dict[str, str] | None = None, parent: int = 0) -> str:
    """Start an engine that must refuse; returns what it says."""
    command = [sys.executable, "-m", "gateway_worker.engine", "--id", "e", "--socket", str(tmp_path / "e.sock")]
    command += ["--spool", str(tmp_path / "spool"), "--parent", str(parent or os.getpid()), *arguments]
    environment = simulator_environment(None) if environment is None else environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    record = json.loads(line)
    assert record["level"] == "CRITICAL"
    return str(record["message"])


def test_without_the_bot_tag_off_it_does_not_start(tmp_path: Path) -> None:
    """The variable must be there before the library is loaded (trap 10)."""
    environment = simulator_environment(None)
    del environment["NEONIZE_BOT_TAG"]
    assert "NEONIZE_BOT_TAG=off" in refusal(tmp_path, environment=environment)


def test_an_orphan_does_not_start(tmp_path: Path) -> None:
    """A worker that died before the engine could tie itself to it leaves no engine behind."""
    assert "parent" in refusal(tmp_path, parent=1)


def test_a_simulator_that_the_environment_does_not_name(tmp_path: Path) -> None:
    """An engine for a simulator never talks to WhatsApp by mistake."""
    file = tmp_path / "simulator.json"
    file.write_text(json.dumps({"proxy": "http://127.0.0.1:1", "ca": "ca.pem", "root": "ab" * 32}))
    assert "HTTPS_PROXY" in refusal(tmp_path, "--simulator", str(file))


def test_a_root_key_that_is_no_key(tmp_path: Path) -> None:
    """A wrong key is refused before anything is written."""
    file = tmp_path / "simulator.json"
    file.write_text(json.dumps({"proxy": DEAD_PROXY, "ca": "ca.pem", "root": "abcd"}))
    environment = simulator_environment(None) | {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    assert "32 bytes" in refusal(tmp_path, "--simulator", str(file), environment=environment)


async def test_a_spool_that_is_in_use(tmp_path: Path) -> None:
    """Two engines never write one spool."""
    async with EngineProcess(tmp_path, name="e") as engine:
        (tmp_path / "spool").symlink_to(engine.spool)
        assert "in use" in refusal(tmp_path)


async def test_a_first_connection_that_fails_is_told(tmp_path: Path) -> None:
    """No network: the client ends with a reason, does not try again by itself (trap 6), and can be started again."""
    async with EngineProcess(tmp_path) as engine:
        for _ in range(2):
            await engine.start("s", make_database(tmp_path / "s.db"))
            ended = await engine.event("s", "client_ended")
            assert ended.client_ended.reason == engine_pb2.END_REASON_CONNECT_FAILED
            await engine.stop("s")


@pytest.mark.parametrize("content", [None, b"this is no database" * 300], ids=["missing", "garbage"])
async def test_a_database_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    """A database that is not there is not made: it would be one of a device that was never linked."""
    path = tmp_path / "s.db"
    if content is not None:
        path.write_bytes(content)
    async with EngineProcess(tmp_path) as engine:
        await engine.start("s", path)
        ended = await engine.event("s", "client_ended")
    assert ended.client_ended.reason == engine_pb2.END_REASON_DATABASE_UNREADABLE
    assert path.exists() == (content is not None)


async def test_an_engine_serves_one_worker(tmp_path: Path) -> None:
    """A second command stream, and a stream of events of somebody else's spool, are refused."""
    async with EngineProcess(tmp_path) as engine, aio.insecure_channel(f"unix:{tmp_path / 'engine.sock'}") as channel:
        stub: engine_pb2_grpc.EngineServiceAsyncStub = engine_pb2_grpc.EngineServiceStub(channel)
        await engine.stop("nobody")  # the first stream is in use
        second = stub.Control()
        with pytest.raises(aio.AioRpcError) as refused:
            await anext(aiter(second))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        events = stub.Events()
        await events.write(engine_pb2.EventsRequest(spool_id="other"))
        with pytest.raises(aio.AioRpcError) as strange:
            await anext(aiter(events))
        assert strange.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_engine_is_slim_and_private(tmp_path: Path) -> None:
    """An idle engine loads neither an image library nor network clients, and nobody else may use its socket."""
    async with EngineProcess(tmp_path, environment={"PYTHONPROFILEIMPORTTIME": "1"}) as engine:
        await engine.start("s", make_database(tmp_path / "s.db"))
        await engine.event("s", "client_ended")
        assert (tmp_path / "engine.sock").stat().st_mode & 0o077 == 0
        assert engine.spool.stat().st_mode & 0o077 == 0
    imported = set(re.findall(r"\| +([\w.]+)$", engine.log.read_text(), re.MULTILINE))
    assert "gateway_worker.engine.host" in imported
    assert imported.isdisjoint(
        {"PIL", "requests", "httpx", "phonenumbers", "tqdm", "neonize.client", "neonize._binder"}
    )
    assert engine.health[0].rss_bytes < 90_000_000


async def test_go_prints_are_not_taken_for_log_records(tmp_path: Path) -> None:
    """Every line of the engine's own is a JSON object with level, logger and message; Go's lines are not (trap 11)."""
    async with EngineProcess(tmp_path) as engine:
        await engine.start("s", make_database(tmp_path / "s.db"))
        await engine.event("s", "client_ended")
    own = [json.loads(line) for line in engine.log.read_text().splitlines() if line.startswith("{")]
    assert own
    assert all({"level", "logger", "message"} <= set(record) for record in own)
    (ended,) = [record for record in own if "ended by itself" in record["message"]]
    assert ended["session"] == "s"
