-- Version 3. Who has exclusive names: a row for each name server that stands up for the holder. It
-- counts for as long as that name server's own lease does. All rows of a name have the same holder
-- and fence.

CREATE TABLE exclusive_names (
    name       TEXT NOT NULL,
    nameserver INTEGER NOT NULL,
    holder     TEXT NOT NULL,
    fence      INTEGER NOT NULL,
    PRIMARY KEY (name, nameserver)
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('exclusive_names', 0);
