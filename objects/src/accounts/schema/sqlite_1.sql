-- Amounts are decimal text, which keeps every digit: '12.50'. A balance begins with a digit, so it
-- is not negative, whatever a program computed.
CREATE TABLE accounts (
    name TEXT NOT NULL PRIMARY KEY,
    opening TEXT NOT NULL CHECK (opening GLOB '[0-9]*'),
    balance TEXT NOT NULL CHECK (balance GLOB '[0-9]*')
) STRICT, WITHOUT ROWID;

-- Every change that was carried out, with its answer. An update has no receiver.
CREATE TABLE accounts_requests (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (name),
    receiver TEXT REFERENCES accounts (name),
    amount TEXT NOT NULL,
    account_balance TEXT NOT NULL,
    receiver_balance TEXT,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    CHECK ((receiver IS NULL) = (receiver_balance IS NULL))
) STRICT, WITHOUT ROWID;
