"""``gateway-worker`` whose engines are :mod:`tests.bench.scripted_engine`; nothing else differs."""

from __future__ import annotations

import sys
from functools import partial

from gateway_worker import app, cli
from gateway_worker.adapters.engine.config import EngineConfig

if __name__ == "__main__":
    command = (sys.executable, "-m", "tests.bench.scripted_engine")
    vars(app)["EngineConfig"] = partial(EngineConfig, command=command)  # what the application builds its settings by
    cli.main()
