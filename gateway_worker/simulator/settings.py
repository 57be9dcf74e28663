"""Settings of one simulator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_worker.simulator.errors import InvalidError
from gateway_worker.simulator.pairing import REF_GRACE, REF_LIFETIMES

if TYPE_CHECKING:
    from pathlib import Path

_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What a simulator is started with.

    Attributes:
        file: Where to write the address file; the certificate of its authority goes beside it, with ``.pem`` added.
        port: Port of the proxy on loopback; 0 for any.
        control_port: Port of the control API on loopback; 0 for any.
        ref_lifetimes: Seconds for which the refs of a pairing offer are valid, one after the other.
        ref_grace: Seconds for which a ref is still taken after its time.
        link_timeout: Seconds that a scanned client gets to log in as the new device.
        idle_timeout: Seconds of silence after which a connection is closed; clients ping every 20 to 30.
        media_budget: Bytes of media that are kept; the oldest give way.
    """

    file: Path
    port: int = 0
    control_port: int = 0
    ref_lifetimes: tuple[float, ...] = REF_LIFETIMES
    ref_grace: float = REF_GRACE
    link_timeout: float = 30.0
    idle_timeout: float = 180.0
    media_budget: int = 1 << 30

    def validate(self) -> None:
        """Check the values.

        Raises:
            InvalidError: One is not accepted; the text names it and says what is.
        """
        for name, port in (("port", self.port), ("control_port", self.control_port)):
            if not 0 <= port <= _MAX_PORT:
                raise InvalidError(f"{name} is 0 to {_MAX_PORT}, not {port}")
        if not self.ref_lifetimes or min(self.ref_lifetimes) <= 0:
            raise InvalidError("ref_lifetimes is at least one number of seconds above 0")
        if self.ref_grace < 0:
            raise InvalidError(f"ref_grace is 0 seconds or more, not {self.ref_grace:g}")
        for name, value in (("link_timeout", self.link_timeout), ("idle_timeout", self.idle_timeout)):
            if value <= 0:
                raise InvalidError(f"{name} is above 0 seconds, not {value:g}")
        if self.media_budget <= 0:
            raise InvalidError(f"media_budget is above 0 bytes, not {self.media_budget}")
