-- Version 10. Which sessions of people have ended before their time, by user and time of login: until is when they
-- would have ended anyway. The id tells this store from all others: a session counts where its end is known.

CREATE TABLE logouts (
    name   TEXT NOT NULL,
    issued INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (name, issued)
) WITHOUT ROWID;

CREATE TABLE store_identity (
    id INTEGER NOT NULL
);
INSERT INTO store_identity (id) VALUES (random());
