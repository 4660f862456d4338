-- Version 12. Batches: tasks that were submitted together, in chunks. Each chunk is one transaction; its row says that it
-- was, with a number that is the same for the same tasks, and with the ids of its first and last task. The counts of a
-- batch are the sum over the shards, as in task_usage: kept is how many of its tasks were not purged.

ALTER TABLE tasks ADD COLUMN batch BLOB;

CREATE TABLE batches (
    id        BLOB PRIMARY KEY,
    submitter TEXT NOT NULL,
    created   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE batch_chunks (
    batch       BLOB NOT NULL,
    number      INTEGER NOT NULL,
    fingerprint INTEGER NOT NULL,
    first       BLOB NOT NULL,
    last        BLOB NOT NULL,
    PRIMARY KEY (batch, number)
) WITHOUT ROWID;

CREATE TABLE batch_counts (
    batch     BLOB NOT NULL,
    shard     INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    kept      INTEGER NOT NULL,
    PRIMARY KEY (batch, shard)
) WITHOUT ROWID;
