"""Settings of the engine pool."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How engines are started, filled, watched and replaced. Times are in seconds.

    Attributes:
        spool_directory: Holds one folder an engine; what a dead engine leaves there is imported.
        simulator: JSON file of a simulator to use instead of WhatsApp; None: the real WhatsApp.
        proxy: URL of an HTTP proxy for the engines' way out; empty: none. Proxies are never taken from the worker's
            own environment.
        socket_directory: Holds the sockets; None: a private folder in the system's folder for temporary files.
        command: Program of an engine and its first arguments.
        clients_per_engine: Clients in an engine at most.
        lifecycle_concurrency: Starts and stops that one engine is given at a time; the others wait in the worker.
        pairing_idle: Time after which a pairing engine without clients exits.
        session_idle: Time after which any other engine without clients exits.
        abandoned_linkings: Linkings that end without a link before their pairing engine takes no more. Each may leave
            a thread in it that never returns.
        recycle_rss_bytes: Resident memory above which an engine is recycled.
        recycle_descriptor_share: Share of its limit of open files above which an engine is recycled.
        recycle_min_age: Age below which an engine is not recycled, so that limits set too low cannot make a loop.
        startup_timeout: Time in which a new engine's process must answer.
        start_patience: Time that a start waits for spools that are still being imported before it is refused.
        start_timeout: Time in which an engine must answer that it started a client; else it is killed.
        stop_timeout: Time in which an engine must answer that it stopped a client; else it is killed.
        settle_timeout: Time that sends under way are given before a recycled or drained engine stops its clients.
        exit_grace: Time that an engine is given to exit by itself before it is killed.
        drain_grace: Time after which ``drain`` kills what is left.
        health_timeout: Time without any word after which an engine counts as wedged and is killed.
        housekeeping_interval: Time between two looks at idle, leaking and wedged engines.
        restart_backoff: Wait after the first failed start of an engine; it doubles with each further one.
        restart_backoff_max: Longest wait between two starts.
        stable_after: Age at which an engine no longer counts as a failed start when it dies.
        redelivery_backoff: Wait before events that were not taken are given again; it doubles each time.
        redelivery_backoff_max: Longest wait before events are given again.
        import_attempts: How often a spool may be refused, or kill the engine that imports it, before it is put aside.
    """

    spool_directory: Path
    simulator: Path | None = None
    proxy: str = ""
    socket_directory: Path | None = None
    command: tuple[str, ...] = (sys.executable, "-m", "gateway_worker.engine")
    clients_per_engine: int = 50
    lifecycle_concurrency: int = 4
    pairing_idle: float = 30.0
    session_idle: float = 300.0
    abandoned_linkings: int = 5
    recycle_rss_bytes: int = 400 * MIB
    recycle_descriptor_share: float = 0.7
    recycle_min_age: float = 60.0
    startup_timeout: float = 30.0
    start_patience: float = 30.0
    start_timeout: float = 30.0
    stop_timeout: float = 20.0
    settle_timeout: float = 10.0
    exit_grace: float = 5.0
    drain_grace: float = 30.0
    health_timeout: float = 15.0
    housekeeping_interval: float = 1.0
    restart_backoff: float = 0.25
    restart_backoff_max: float = 30.0
    stable_after: float = 30.0
    redelivery_backoff: float = 0.1
    redelivery_backoff_max: float = 10.0
    import_attempts: int = 3

    def __post_init__(self) -> None:
        """Refuse values with which the pool could not work. Raises ValueError naming the field."""
        for name in ("clients_per_engine", "lifecycle_concurrency", "abandoned_linkings", "import_attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 < self.recycle_descriptor_share <= 1:
            raise ValueError("recycle_descriptor_share must be above 0 and at most 1")
        if self.housekeeping_interval <= 0:
            raise ValueError("housekeeping_interval must be above 0")
        if not self.command:
            raise ValueError("command must name a program")
