"""Who takes part in the demo, and what its scenes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway_worker.cli.demo.figures import Figures
from gateway_worker.cli.demo.processes import Child
from gateway_worker.cli.demo.recorder import EventRecorder
from gateway_worker.cli.demo.stage import Stage
from wagateway.simulator.v1 import simulator_pb2_grpc
from wagateway.worker.v1 import event_pb2, session_pb2, worker_pb2_grpc

SESSION: Final = "demo"
PHONE: Final = "6281200000001"
PHONE_NAME: Final = "Budi"
CONTACT: Final = "6281300000001"
CONTACT_NAME: Final = "Siti"


@dataclass(slots=True)
class Demo:
    """What the scenes share.

    Attributes:
        stage: Where they play.
        figures: What they measured.
        recorder: The stream of events.
        worker: The worker's process.
        api: The worker's API: what a backend uses.
        control: The simulator's control API: what people do on their phones.
        simulator_file: The file that points workers at the simulator.
        target: The worker's address.
        picture: The image that was sent; empty before.
    """

    stage: Stage
    figures: Figures
    recorder: EventRecorder
    worker: Child
    api: worker_pb2_grpc.WorkerServiceAsyncStub
    control: simulator_pb2_grpc.SimulatorServiceAsyncStub
    simulator_file: Path
    target: str
    picture: bytes = field(default=b"", repr=False)

    async def reached(self, state: session_pb2.SessionState.ValueType, what: str, *, since: int) -> event_pb2.Event:
        """Wait until the session reaches a state. Raises DemoError."""
        return await self.recorder.wait_for(
            what,
            lambda event: event.HasField("session_state") and event.session_state.status.state == state,
            since=since,
        )
