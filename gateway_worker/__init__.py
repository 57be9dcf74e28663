"""A WhatsApp gateway worker: sessions, sends and a durable event stream over gRPC."""

import os

# Read by gRPC's C core when it is first imported, so they stand here, before any module of this package. Engines are
# started with exec, which needs no fork support (with it, every start prints a warning); and what the core reports
# below the level of an error (a peer that hung up) reaches this package's own logs by status codes.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
