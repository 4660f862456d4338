-- Version 9. The trace that a task belongs to, if somebody records one. Who connected: people, task clients and
-- workers. What a name server keeps beyond its own life, by name: its figures of the last day.
-- Which workers, by name and incarnation, get no new calls.

ALTER TABLE tasks ADD COLUMN trace TEXT;

CREATE TABLE visitors (
    kind       BIGINT NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    place      TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE TABLE snapshots (
    name    TEXT COLLATE "C" PRIMARY KEY,
    written BIGINT NOT NULL,
    content BYTEA NOT NULL
);

CREATE TABLE drains (
    worker TEXT COLLATE "C" PRIMARY KEY,
    at     BIGINT NOT NULL
);
