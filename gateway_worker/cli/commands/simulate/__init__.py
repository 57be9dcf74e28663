"""``gateway-worker simulate``: the simulator, and what people do in it."""

from gateway_worker.cli.commands.simulate.group import app

__all__ = ["app"]
