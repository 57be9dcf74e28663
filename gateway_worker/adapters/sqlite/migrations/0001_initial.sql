-- Version 1. Times are Unix seconds. Booleans are 0 and 1. Text keys are ASCII, so that BINARY order is their order.

CREATE TABLE session (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    version INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    labels TEXT NOT NULL, -- a JSON object of strings
    default_region TEXT NOT NULL,
    device_name TEXT NOT NULL,
    state INTEGER NOT NULL,
    reason INTEGER NOT NULL,
    linked INTEGER NOT NULL,
    wanted INTEGER NOT NULL,
    banned_until REAL,
    since REAL NOT NULL,
    account_jid TEXT, -- NULL, like the other columns of the account, when there is none
    account_lid TEXT,
    account_push_name TEXT,
    account_linked_at REAL,
    created_at REAL NOT NULL,
    updated_at REAL NOT NULL,
    PRIMARY KEY (tenant, session)
) STRICT, WITHOUT ROWID;

-- Where the journal ends and begins: always exactly one row.
CREATE TABLE journal_head (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    position INTEGER NOT NULL, -- of the newest event that ever was, erased or not
    oldest INTEGER NOT NULL -- events at and before it were pruned
) STRICT;

INSERT INTO journal_head (only_row, position, oldest) VALUES (1, 0, 0);

-- Last number given to an event of a session. Outlives the session, so that a reused id goes on counting.
CREATE TABLE session_sequence (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (tenant, session)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    position INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    time REAL NOT NULL, -- when it happened
    recorded_at REAL NOT NULL, -- when it entered the journal
    payload BLOB NOT NULL
) STRICT;

CREATE INDEX event_of_session ON event (tenant, session);

-- The head and the sequence move with the event or not at all, whoever inserts it.
CREATE TRIGGER event_moves_head AFTER INSERT ON event
BEGIN
    UPDATE journal_head SET position = NEW.position;
    INSERT INTO session_sequence (tenant, session, last) VALUES (NEW.tenant, NEW.session, NEW.sequence)
    ON CONFLICT (tenant, session) DO UPDATE SET last = excluded.last;
END;

CREATE TABLE message (
    row INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    chat TEXT NOT NULL,
    sender TEXT NOT NULL,
    message_id TEXT NOT NULL,
    from_me INTEGER NOT NULL,
    time REAL NOT NULL,
    raw BLOB NOT NULL,
    UNIQUE (tenant, session, chat, sender, message_id)
) STRICT;

CREATE TABLE send (
    row INTEGER PRIMARY KEY,
    send_id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    idempotency_key TEXT, -- NULL when the client gave none
    fingerprint BLOB NOT NULL,
    secret BLOB NOT NULL,
    chat TEXT NOT NULL,
    handed_at REAL NOT NULL,
    message_id TEXT, -- NULL while not known
    acked_at REAL, -- NULL until WhatsApp's server is known to have it
    status INTEGER NOT NULL,
    fate_unknown INTEGER NOT NULL DEFAULT 0 -- 1 from MarkUnknown on
) STRICT;

CREATE UNIQUE INDEX send_by_idempotency_key ON send (tenant, session, idempotency_key)
WHERE idempotency_key IS NOT NULL;

CREATE INDEX send_by_message_id ON send (tenant, session, message_id) WHERE message_id IS NOT NULL;

CREATE INDEX send_unsettled ON send (handed_at) WHERE acked_at IS NULL AND fate_unknown = 0;

-- Receipts for ids that no send is known by yet: what came first for each status.
CREATE TABLE early_receipt (
    tenant TEXT NOT NULL,
    session TEXT NOT NULL,
    message_id TEXT NOT NULL,
    status INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    time REAL NOT NULL,
    payload BLOB NOT NULL,
    kept_at REAL NOT NULL,
    PRIMARY KEY (tenant, session, message_id, status)
) STRICT, WITHOUT ROWID;

CREATE INDEX early_receipt_by_age ON early_receipt (kept_at);

CREATE TABLE consumer (
    tenant TEXT NOT NULL,
    consumer TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (tenant, consumer)
) STRICT, WITHOUT ROWID;

CREATE TABLE spool (
    spool_id TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
