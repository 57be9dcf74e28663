"""Linking a session to a phone: which calls and events it takes (``link``), what is shown meanwhile (``views``)."""
