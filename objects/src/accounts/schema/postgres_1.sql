-- The collation is that of bytes: rows are locked in the order of their names, and that order must
-- be the same everywhere.
CREATE TABLE accounts (
    name text COLLATE "C" PRIMARY KEY,
    opening numeric NOT NULL CHECK (opening >= 0),
    balance numeric NOT NULL CHECK (balance >= 0)
);

-- Every change that was carried out, with its answer. An update has no receiver.
CREATE TABLE accounts_requests (
    id text COLLATE "C" PRIMARY KEY,
    account text COLLATE "C" NOT NULL REFERENCES accounts (name),
    receiver text COLLATE "C" REFERENCES accounts (name),
    amount numeric NOT NULL,
    account_balance numeric NOT NULL,
    receiver_balance numeric,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((receiver IS NULL) = (receiver_balance IS NULL))
);
