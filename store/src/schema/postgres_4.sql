-- Version 4. A lease is over when its owner has not renewed it for its time to live, as whoever takes
-- over has watched: no clock is compared with another. And steps of the clock, by which nothing
-- becomes old; size is in milliseconds.

DROP TABLE leases;
CREATE TABLE leases (
    fence    BIGINT PRIMARY KEY,
    ttl      BIGINT NOT NULL,
    renewals BIGINT NOT NULL
);

CREATE TABLE clock_steps (
    number BIGINT PRIMARY KEY,
    at     BIGINT NOT NULL,
    size   BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('clock_steps', 0);
