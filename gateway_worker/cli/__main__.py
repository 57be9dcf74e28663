"""``python -m gateway_worker.cli`` is ``gateway-worker``."""

from gateway_worker.cli.root import main

main()
