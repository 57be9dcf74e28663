"""The gRPC edge: decodes, makes one call into the core, encodes."""
