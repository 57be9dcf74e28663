"""Where events wait on disk until the worker has them: format, writer and reader of append-only segment files."""
