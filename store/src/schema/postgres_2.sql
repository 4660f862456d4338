-- Version 2. Which entries of topics came under which keys, so that an append can be repeated. They
-- outlive their entries, which a topic may keep for a shorter time.

CREATE TABLE entry_keys (
    topic    BIGINT NOT NULL,
    key      TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (topic, key)
);
CREATE INDEX entry_keys_at ON entry_keys (at);
