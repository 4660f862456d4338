-- Version 5. When a task was last queued again by hand: its deadline counts from then.

ALTER TABLE tasks ADD COLUMN retried BIGINT;
