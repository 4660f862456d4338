-- Version 2. Which entries of topics came under which keys, so that an append can be repeated. They
-- outlive their entries, which a topic may keep for a shorter time.

CREATE TABLE entry_keys (
    topic    INTEGER NOT NULL,
    key      TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) WITHOUT ROWID;
CREATE INDEX entry_keys_at ON entry_keys (at);
