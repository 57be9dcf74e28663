"""The command line ``gateway-worker``: a client of the gRPC API like any other, and the way to start its servers.

Modules that only some commands need (gRPC, protobuf, rich) are imported when such a command is chosen, so that
``gateway-worker --help`` and shell completion answer at once; see :mod:`gateway_worker.cli.lazy`.
"""

from gateway_worker.cli.root import main

__all__ = ["main"]
