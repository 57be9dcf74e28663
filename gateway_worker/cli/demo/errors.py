"""What goes wrong in a demonstration."""

from __future__ import annotations

from gateway_worker.cli.exits import CommandError


class DemoError(CommandError):
    """Something did not happen as it must."""
