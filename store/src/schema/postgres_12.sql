-- Version 12. Batches: tasks that were submitted together, in chunks. Each chunk is one transaction; its row says that it
-- was, with a number that is the same for the same tasks, and with the ids of its first and last task. The counts of a
-- batch are the sum over the shards, as in task_usage: kept is how many of its tasks were not purged.

ALTER TABLE tasks ADD COLUMN batch BYTEA;

CREATE TABLE batches (
    id        BYTEA PRIMARY KEY,
    submitter TEXT COLLATE "C" NOT NULL,
    created   BIGINT NOT NULL
);

CREATE TABLE batch_chunks (
    batch       BYTEA NOT NULL,
    number      BIGINT NOT NULL,
    fingerprint BIGINT NOT NULL,
    first       BYTEA NOT NULL,
    last        BYTEA NOT NULL,
    PRIMARY KEY (batch, number)
);

CREATE TABLE batch_counts (
    batch     BYTEA NOT NULL,
    shard     BIGINT NOT NULL,
    total     BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed    BIGINT NOT NULL,
    cancelled BIGINT NOT NULL,
    kept      BIGINT NOT NULL,
    PRIMARY KEY (batch, shard)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
