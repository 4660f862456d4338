-- Version 11. Schedules: calls that become tasks at the times of a cron pattern. definition is what was asked for, as the
-- name servers read it. All due times up to handled are dealt with; due is the next one, or NULL if there is none. waiting
-- has the due times whose tasks wait for the end of last_task, as JSON, or NULL. revision grows with every change of a row.

CREATE TABLE schedules (
    name             TEXT PRIMARY KEY,
    id               INTEGER NOT NULL,
    submitter        TEXT NOT NULL,
    certificate_role TEXT,
    revision         INTEGER NOT NULL,
    paused           INTEGER NOT NULL,
    created          INTEGER NOT NULL,
    handled          INTEGER NOT NULL,
    due              INTEGER,
    waiting          TEXT,
    last             INTEGER,
    last_task        BLOB,
    problem          TEXT,
    definition       TEXT NOT NULL
);
CREATE INDEX schedules_due ON schedules (due);
CREATE INDEX schedules_submitter ON schedules (submitter, name);
CREATE INDEX schedules_waiting ON schedules (last_task) WHERE waiting IS NOT NULL;
INSERT INTO counters (name, value) VALUES ('schedules', 0);
