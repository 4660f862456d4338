-- Version 1. The same tables as on PostgreSQL; times are milliseconds since 1970.

CREATE TABLE counters (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('fences', 0), ('static_names', 0), ('static_names_floor', 0);

-- state: 0 queued, 1 delayed, 2 running, 3 succeeded, 4 failed, 5 cancelled.
-- pinned is the one worker that may run it, or empty.
-- arguments and result are NULL here if they are large: then they are in bodies, so that a change of
-- state does not rewrite them.
CREATE TABLE tasks (
    id               BLOB PRIMARY KEY,
    object           TEXT NOT NULL,
    method           TEXT NOT NULL,
    pinned           TEXT NOT NULL,
    submitter        TEXT NOT NULL,
    idempotency_key  TEXT,
    priority         INTEGER NOT NULL,
    state            INTEGER NOT NULL,
    due              INTEGER NOT NULL,
    deadline         INTEGER,
    attempt          INTEGER NOT NULL,
    allowed_attempts INTEGER NOT NULL,
    max_attempts     INTEGER NOT NULL,
    losses           INTEGER NOT NULL,
    backoff          INTEGER NOT NULL,
    owner            INTEGER,
    worker           TEXT,
    outcome          INTEGER,
    submitted        INTEGER NOT NULL,
    started          INTEGER,
    ended            INTEGER,
    fraction         REAL,
    note             TEXT,
    error            TEXT,
    arguments        BLOB,
    result           BLOB
) WITHOUT ROWID;

CREATE UNIQUE INDEX tasks_key ON tasks (submitter, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX tasks_queued ON tasks (object, pinned, priority DESC, id) WHERE state = 0;
CREATE INDEX tasks_delayed ON tasks (due) WHERE state = 1;
CREATE INDEX tasks_deadline ON tasks (deadline) WHERE deadline IS NOT NULL AND state < 2;
CREATE INDEX tasks_running ON tasks (owner) WHERE state = 2;
CREATE INDEX tasks_ended ON tasks (ended) WHERE state > 2;
CREATE INDEX tasks_failed ON tasks (id) WHERE state = 4;

-- kind: 0 arguments, 1 result.
CREATE TABLE bodies (
    task BLOB NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (task, kind)
);

-- Attempts that were followed by another; the last one is in the task itself.
CREATE TABLE attempts (
    task    BLOB NOT NULL,
    number  INTEGER NOT NULL,
    worker  TEXT,
    started INTEGER NOT NULL,
    ended   INTEGER NOT NULL,
    outcome INTEGER NOT NULL,
    error   TEXT,
    PRIMARY KEY (task, number)
) WITHOUT ROWID;

CREATE TABLE leases (
    name    TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    fence   INTEGER NOT NULL UNIQUE,
    expires INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE static_names (
    name     TEXT PRIMARY KEY,
    entry    TEXT,
    revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX static_names_revision ON static_names (revision);

CREATE TABLE topics (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT NOT NULL UNIQUE,
    first    INTEGER NOT NULL,
    head     INTEGER NOT NULL,
    bytes    INTEGER NOT NULL,
    keep_age   INTEGER,
    keep_bytes INTEGER
);

CREATE TABLE entries (
    topic    INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    body     BLOB NOT NULL,
    PRIMARY KEY (topic, sequence)
) WITHOUT ROWID;

-- Tickets issued until then are void; until is when the last of them has expired anyway.
CREATE TABLE revocations (
    name   TEXT PRIMARY KEY,
    until  INTEGER NOT NULL,
    issued INTEGER NOT NULL
) WITHOUT ROWID;
