"""The embedded database: SQLite through apsw."""
