"""What a demonstration measures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class Figures:
    """Measured values; None until measured. Times are in the unit that the name ends with, by the demo's own clock.

    Attributes:
        start_seconds: From nothing to a simulator and a worker that take calls.
        qr_seconds: From ConnectSession to the first QR code on the stream.
        link_seconds: From the scan to the session connected.
        text_ack_ms: One SendText call: until WhatsApp's server acknowledged the message.
        image_ack_ms: One SendImage call, upload included.
        delivered_ms: From the call of SendText to its delivery on the stream.
        answer_ms: From the contact's saying something to the message on the stream.
        lost_seconds: From the engine's SIGKILL to the session seen as reconnecting.
        reconnect_seconds: From the engine's SIGKILL to the session connected again.
        messages_sent: Messages acknowledged.
        messages_received: Messages that arrived on the stream.
        events: Durable events on the stream.
        events_lost: Holes in their sequence.
        events_repeated: Events that came twice.
    """

    start_seconds: float | None = None
    qr_seconds: float | None = None
    link_seconds: float | None = None
    text_ack_ms: float | None = None
    image_ack_ms: float | None = None
    delivered_ms: float | None = None
    answer_ms: float | None = None
    lost_seconds: float | None = None
    reconnect_seconds: float | None = None
    messages_sent: int = 0
    messages_received: int = 0
    events: int = 0
    events_lost: int = 0
    events_repeated: int = 0

    def document(self) -> dict[str, Any]:
        """Return them as JSON, times rounded to what they mean."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}
