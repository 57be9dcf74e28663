"""An engine whose Go library is a script: messages arrive on its callbacks at an exact rate.

A simulator, the Go core's cryptography and the rest of the gateway need more than two cores at 500 messages a second,
and then a latency says how long things waited for a core. Here everything from the callback on is real, in its real
process and on its real threads; what would come before it is left out.

The worker that uses it is :mod:`tests.bench.scripted_worker`. Clients link themselves as soon as they offered a code.
They begin to hand messages over when the file :data:`ORDERS` appears beside the worker's data directory.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, TypeVar

from google.protobuf.message import Message as ProtobufMessage

from gateway_worker.engine import main as engine_main
from gateway_worker.engine.binding import Callbacks
from gateway_worker.engine.codes import Code
from gateway_worker.engine.options import parse_options
from gateway_worker.waproto import neonize
from tests.support.fake_library import FakeLibrary, FakeRun

ORDERS: Final = "orders.json"
"""Name of the file that starts the messages: ``clients``, ``rate`` (messages a second, all clients), ``seconds``."""

_SCAN: Final = 0.1  # s between the code and its scan
_POLL: Final = 0.01  # s
_PHONE: Final = "s.whatsapp.net"

_MessageT = TypeVar("_MessageT", bound=ProtobufMessage)


class ScriptedLibrary(FakeLibrary):
    """Stands in for the Go library.

    Args:
        orders: The file that starts the messages.
        linking: Whether its clients are to be linked first.
    """

    def __init__(self, orders: Path, *, linking: bool) -> None:
        super().__init__()
        self._orders = orders
        self._linking = linking
        self._index = 0
        self.answers = {"is_connected": True, "is_logged_in": True, "pn_from_lid": b"", "logout": ""}

    def run_client(self, client: bytes, database: bytes, *, callbacks: Callbacks, **_options: object) -> str:
        """Link, log in, hand messages over when it is time, and wait for the stop."""
        run = self.runs[client] = FakeRun(client, callbacks)
        index = self._index  # clients are started one at a time
        self._index += 1
        device = _device(database)
        if self._linking:
            run.qr(f"2@{client.decode()},script,script,script")
            time.sleep(_SCAN)
            run.login_status("success")
        run.event(Code.DEVICE, device.SerializeToString())
        if self._linking:
            run.event(Code.PAIR_STATUS, _linked(device).SerializeToString())
        run.event(Code.CONNECTED)
        if not self._linking:  # a client that was linked moves to another engine
            threading.Thread(target=self._deliver, args=(run, index, device), daemon=True).start()
        run._over.wait()  # for as long as it takes, which run.wait() does not
        return run.error

    def _deliver(self, run: FakeRun, index: int, device: neonize.Device) -> None:
        """Hand messages over as ordered, this client's share of them, evenly."""
        while not self._orders.exists():
            time.sleep(_POLL)
        orders = json.loads(self._orders.read_text(encoding="utf-8"))
        interval = orders["clients"] / orders["rate"]
        start = time.monotonic() + interval * index / orders["clients"]
        for number in range(int(orders["seconds"] / interval)):
            time.sleep(max(0.0, start + number * interval - time.monotonic()))
            run.event(Code.MESSAGE, _message(f"{device.JID.User}-{number}", index).SerializeToString())

    def __getattr__(self, name: str) -> Any:
        """Answer any other call as :class:`FakeLibrary` does, without keeping a list of the calls."""
        return lambda *_args, **_kwargs: self.answers.get(name)


def _device(database: bytes) -> neonize.Device:
    """The device of a session: the same one in every engine that opens its database."""
    number = int.from_bytes(hashlib.sha256(database.partition(b"?")[0]).digest()[:4])
    device = neonize.Device(PushName="Script", Initialized=True)
    _address(device.JID, f"62{number:010d}", _PHONE, device=1)
    _address(device.LID, f"1{number:014d}", "lid")
    return _completed(device)


def _message(message_id: str, index: int) -> neonize.Message:
    message = neonize.Message()
    message.Info.ID = message_id
    message.Info.Pushname = "Somebody"
    message.Info.Timestamp = time.time_ns() // 1_000_000
    _address(message.Info.MessageSource.Chat, f"49{index:010d}", _PHONE)
    _address(message.Info.MessageSource.Sender, f"49{index:010d}", _PHONE)
    message.Message.conversation = "hello from a script"
    return _completed(message)


def _linked(device: neonize.Device) -> neonize.PairStatus:
    status = neonize.PairStatus(Status=neonize.PairStatus.SUCCESS)
    status.ID.CopyFrom(device.JID)
    return _completed(status)


def _address(jid: neonize.JID, user: str, server: str, device: int = 0) -> None:
    jid.User, jid.Server, jid.Device = user, server, device


def _completed(message: _MessageT) -> _MessageT:
    """Set every required field that is not set to its default, as Go does."""
    for field in message.DESCRIPTOR.fields:
        if field.is_required and field.message_type is not None:
            _completed(getattr(message, field.name))
        elif field.is_required and not message.HasField(field.name):
            setattr(message, field.name, field.default_value)
        elif field.message_type is not None and not field.is_repeated and message.HasField(field.name):
            _completed(getattr(message, field.name))
    return message


def main() -> None:
    """Run the engine's own program with the library replaced."""
    options = parse_options(sys.argv[1:])
    library = ScriptedLibrary(options.spool.parents[2] / ORDERS, linking=options.engine_id.startswith("pairing"))
    vars(engine_main)["GoLibrary"] = lambda _path: library.typed  # what the program builds its library by
    engine_main.main()


if __name__ == "__main__":
    main()
