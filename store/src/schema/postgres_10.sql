-- Version 10. Which sessions of people have ended before their time, by user and time of login: until is when they
-- would have ended anyway. The id tells this store from all others: a session counts where its end is known.

CREATE TABLE logouts (
    name   TEXT COLLATE "C" NOT NULL,
    issued BIGINT NOT NULL,
    until  BIGINT NOT NULL,
    PRIMARY KEY (name, issued)
);

CREATE TABLE store_identity (
    id BIGINT NOT NULL
);
INSERT INTO store_identity (id) VALUES ((random() * 9007199254740991)::bigint);
