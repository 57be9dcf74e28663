"""A WhatsApp server on loopback, wire-compatible with the real client."""
