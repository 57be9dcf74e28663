"""The core: one actor a session, the way of messages in and out, and the feed of events."""
