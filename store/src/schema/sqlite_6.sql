-- Version 6. How many tasks each submitter has that have not ended, and how many bytes all of them take,
-- so that limits need no counting. The sum over the shards is what counts: who writes at the same time
-- does so in different ones. '*' is all submitters together.

CREATE TABLE task_usage (
    submitter TEXT NOT NULL,
    shard     INTEGER NOT NULL,
    tasks     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    PRIMARY KEY (submitter, shard)
) WITHOUT ROWID;
INSERT INTO task_usage (submitter, shard, tasks, bytes)
    SELECT submitter, 0, sum(CASE WHEN state < 3 THEN 1 ELSE 0 END),
        sum(300 + coalesce(length(arguments), 0) + coalesce(length(result), 0)
            + coalesce((SELECT sum(length(body)) FROM bodies WHERE bodies.task = tasks.id), 0))
    FROM tasks GROUP BY submitter;
INSERT INTO task_usage (submitter, shard, tasks, bytes)
    SELECT '*', 0, coalesce(sum(tasks), 0), coalesce(sum(bytes), 0) FROM task_usage;

-- How long an attempt may take, in milliseconds.
ALTER TABLE tasks ADD COLUMN run_limit INTEGER NOT NULL DEFAULT 3600000;

-- Submitters take turns.
DROP INDEX tasks_queued;
CREATE INDEX tasks_queued ON tasks (object, pinned, submitter, priority DESC, id) WHERE state = 0;
