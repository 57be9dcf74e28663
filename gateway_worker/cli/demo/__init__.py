"""``gateway-worker demo``: the main job from end to end, offline, before your eyes.

``command`` is the command line; ``processes`` starts the simulator and the worker; ``scenes`` are what happens, one
function each; ``stage`` is how it looks; ``recorder`` reads the stream of events; ``figures`` is what was measured.
"""

from gateway_worker.cli.demo.command import app

__all__ = ["app"]
