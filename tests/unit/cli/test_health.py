"""``gateway-worker health``."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from tests.support.command_line import Cli
from tests.support.fake_worker import FakeWorker

MAIN = "wagateway.worker.v1.WorkerService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def test_alive_and_ready(cli: Cli, worker: FakeWorker) -> None:
    """Alive and ready."""
    worker.health.set(MAIN, SERVING)
    result = cli("health")
    assert result.code == 0
    assert result.out == f"serving  the worker\nserving  {MAIN}\n"


def test_alive_but_not_ready(cli: Cli, worker: FakeWorker) -> None:
    """Alive but not ready."""
    worker.health.set(MAIN, NOT_SERVING)
    result = cli("health")
    assert result.code == 1
    assert result.out == f"serving  the worker\nnot serving  {MAIN}\n"


def test_one_service_only(cli: Cli, worker: FakeWorker) -> None:
    """One service only."""
    worker.health.set("", NOT_SERVING)
    worker.health.set(MAIN, SERVING)
    result = cli("health", "--service", MAIN)
    assert (result.code, result.out) == (0, f"serving  {MAIN}\n")


def test_an_unknown_service_is_not_well(cli: Cli, worker: FakeWorker) -> None:
    """An unknown service is not well."""
    result = cli("health", "--service", "nothing.v1.Nothing", "--json")
    assert result.code == 1
    assert result.json() == {"services": {"nothing.v1.Nothing": "SERVICE_UNKNOWN"}}
    assert worker.calls == []


def test_as_json(cli: Cli, worker: FakeWorker) -> None:
    """As JSON."""
    worker.health.set(MAIN, SERVING)
    assert cli("health", "--json").json() == {"services": {"": "SERVING", MAIN: "SERVING"}}
