"""A client library in a process of its own, as far as its database is concerned.

``python -m tests.support.auth_writer FILE`` opens the database to write and obeys the lines it reads: ``store ID HEX``
stores a message id with its secret as whatsmeow does before a message goes to the wire, ``check`` runs SQLite's
integrity check, ``die`` ends the process with the database open, as an engine that is killed does. Each line is
answered by one.
"""

from __future__ import annotations

import os
import sys

import apsw

# whatsmeow's layout without the foreign key to its device table.
TABLE = """
CREATE TABLE whatsmeow_message_secrets (
    our_jid TEXT, chat_jid TEXT, sender_jid TEXT, message_id TEXT, key bytea NOT NULL,
    PRIMARY KEY (our_jid, chat_jid, sender_jid, message_id)
)
"""
INSERT = "INSERT INTO whatsmeow_message_secrets VALUES ('1:1@s.whatsapp.net', '2@lid', '1@lid', ?, ?)"


def main() -> None:
    """Obey until told to die."""
    database = apsw.Connection(sys.argv[1])
    database.execute(TABLE)
    for line in sys.stdin:
        match line.split():
            case ["store", message_id, secret]:
                database.execute(INSERT, (message_id, bytes.fromhex(secret)))
                answer = "stored"
            case ["check"]:
                answer = str(database.execute("PRAGMA integrity_check").get)
            case ["die"]:
                os._exit(9)
            case _:
                answer = "what?"
        sys.stdout.write(answer + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
