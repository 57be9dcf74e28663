"""The child process that hosts neonize; the only place where the Go core is loaded.

``python -m gateway_worker.engine`` runs it. One engine hosts many WhatsApp clients and owns nothing but their live
SQLite files; it speaks ``wagateway.engine.v1`` with the worker over a Unix socket and may die at any moment: what it
took from WhatsApp is in its spool by then, and a fresh engine delivers that.

::

    main          arguments, parent, environment, exit
     └ server     the two streams of the contract, shutdown
        ├ commands    one command in, one answer out          ├ pump      spool and ephemera out as events
        ├ sending     content → WhatsApp message → answer     ├ importing a dead engine's spool
        ├ failures    what a library's error text means       ├ health    numbers, every 2 s
        └ host        clients: start, stop, end               └ convert/  one module per kind of event
           ├ client   one client: thread, callbacks           spool/      format, writer, reader
           ├ gate     neonize's unlocked maps
           └ binding  ctypes, all of it
"""
