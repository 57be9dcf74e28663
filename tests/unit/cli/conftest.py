"""A command line to call, and a worker for it to call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway_worker.cli.root import main
from tests.support.command_line import Cli, Result
from tests.support.fake_worker import FakeWorker, fake_worker


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWorker]:
    """A fake worker, which the command line calls by default."""
    with fake_worker() as fake:
        monkeypatch.setenv("GATEWAY_TARGET", fake.target)
        yield fake


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A function that runs a command line in this process."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        captured = capsys.readouterr()
        return Result(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return run
