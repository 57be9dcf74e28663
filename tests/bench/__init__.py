"""The benchmark: ``python -m tests.bench [--json] [--quick] [--only SCENARIO]``.

It drives a worker and a simulator, each in processes of its own, and prints a table; with ``--json`` the last line of
the output is JSON whose keys say the unit. Everything shares this machine's cores, the client of the API included,
which is a coroutine a session in this very process (uvloop, grpc.aio: the cheapest client there is in Python, some
0.23 ms of CPU a call).

::

    world         simulator, worker, linked sessions; grows on demand, one for all scenarios
    throughput    sends/s through the API beside clients without a gateway, in turns
    inbound       from neonize's callback to the client
    memory        worker and engines, from /proc
    reconnect     after SIGKILL of the session engine
    startup       from exec to ready, without and with linked sessions
    yardsticks    the clients without a gateway        neonize_loop  one of them: a child process
    ring          sessions that send to each other     run           what one run of sends measured
    spools        when neonize's callback ran          costs         CPU time per process and message
    figures       numbers with unit and aim; table and JSON

``python -m tests.bench.edge`` is a benchmark of its own: what the gRPC edge alone costs.
"""
