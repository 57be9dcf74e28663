"""A WhatsApp gateway worker: sessions, sends and a durable event stream over gRPC."""
