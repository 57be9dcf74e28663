"""The child process that hosts neonize; the only place where the Go core is loaded."""
