-- Version 9. The trace that a task belongs to, if somebody records one. Who connected: people, task clients and
-- workers. What a name server keeps beyond its own life, by name: its figures of the last day.
-- Which workers, by name and incarnation, get no new calls.

ALTER TABLE tasks ADD COLUMN trace TEXT;

CREATE TABLE visitors (
    kind       INTEGER NOT NULL,
    name       TEXT NOT NULL,
    place      TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;

CREATE TABLE snapshots (
    name    TEXT PRIMARY KEY,
    written INTEGER NOT NULL,
    content BLOB NOT NULL
);

CREATE TABLE drains (
    worker TEXT PRIMARY KEY,
    at     INTEGER NOT NULL
);
