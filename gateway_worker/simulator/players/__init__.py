"""The people and phones that the simulator plays: they hold keys, read, report and answer.

``device`` is what every phone does (Signal, fan-out, retries); ``contact`` and ``phone`` are whose it is; ``content``
and ``envelope`` are what messages say and how they are wrapped; ``app_state`` is what a phone shares with its
companions; ``directory`` holds everybody and serves the control API.
"""

from gateway_worker.simulator.players.directory import Players

__all__ = ["Players"]
