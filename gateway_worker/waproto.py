"""WhatsApp's own protobuf messages, without the Go core that comes with them.

``import neonize`` runs the package's ``__init__``, which loads the Go library (a 66 MB, threaded, panicking guest) and
half a dozen network clients. Only the generated messages below ``neonize.proto`` are wanted here, by the simulator and
by the engine's converters, so a bare parent package with the right ``__path__`` is registered under the name first:
submodules then resolve as usual and ``__init__`` never runs. The engine, and nothing else, loads the Go library itself.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types


def _register_bare_package() -> None:
    """Register ``neonize`` with its search path but without running it; does nothing when it is there already."""
    if "neonize" in sys.modules:
        return
    spec = importlib.machinery.PathFinder.find_spec("neonize")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("neonize is not installed: install this package with its dependencies")
    package = types.ModuleType("neonize", "neonize, reduced to its submodules")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules["neonize"] = package


_register_bare_package()

from neonize.proto import Neonize_pb2 as neonize  # noqa: E402
from neonize.proto.waAdv import WAAdv_pb2 as adv  # noqa: E402
from neonize.proto.waCert import WACert_pb2 as cert  # noqa: E402
from neonize.proto.waCommon import WACommon_pb2 as common  # noqa: E402
from neonize.proto.waCompanionReg import WAWebProtobufsCompanionReg_pb2 as companion_reg  # noqa: E402
from neonize.proto.waE2E import WAWebProtobufsE2E_pb2 as e2e  # noqa: E402
from neonize.proto.waHistorySync import WAWebProtobufsHistorySync_pb2 as history_sync  # noqa: E402
from neonize.proto.waServerSync import WAWebProtobufsServerSync_pb2 as server_sync  # noqa: E402
from neonize.proto.waSyncAction import WAWebProtobufSyncAction_pb2 as sync_action  # noqa: E402
from neonize.proto.waWa6 import WAWebProtobufsWa6_pb2 as wa6  # noqa: E402

__all__ = [
    "adv",
    "cert",
    "common",
    "companion_reg",
    "e2e",
    "history_sync",
    "neonize",
    "server_sync",
    "sync_action",
    "wa6",
]
