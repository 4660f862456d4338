-- Version 11. Schedules: calls that become tasks at the times of a cron pattern. definition is what was asked for, as the
-- name servers read it. All due times up to handled are dealt with; due is the next one, or NULL if there is none. waiting
-- has the due times whose tasks wait for the end of last_task, as JSON, or NULL. revision grows with every change of a row.

CREATE TABLE schedules (
    name             TEXT COLLATE "C" PRIMARY KEY,
    id               BIGINT NOT NULL,
    submitter        TEXT COLLATE "C" NOT NULL,
    certificate_role TEXT COLLATE "C",
    revision         BIGINT NOT NULL,
    paused           BIGINT NOT NULL,
    created          BIGINT NOT NULL,
    handled          BIGINT NOT NULL,
    due              BIGINT,
    waiting          TEXT COLLATE "C",
    last             BIGINT,
    last_task        BYTEA,
    problem          TEXT COLLATE "C",
    definition       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX schedules_due ON schedules (due);
CREATE INDEX schedules_submitter ON schedules (submitter, name);
CREATE INDEX schedules_waiting ON schedules (last_task) WHERE waiting IS NOT NULL;
INSERT INTO counters (name, value) VALUES ('schedules', 0);
