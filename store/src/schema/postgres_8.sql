-- Version 8. Where the name servers over this store are reached. Each adds to its number of beats for as
-- long as it lives; a row whose number stands still is deleted by the others.

CREATE TABLE name_servers (
    address TEXT COLLATE "C" PRIMARY KEY,
    beats   BIGINT NOT NULL
);
