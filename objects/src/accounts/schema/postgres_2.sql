-- Requests are forgotten in the order of their age.
CREATE INDEX accounts_requests_applied_at ON accounts_requests (applied_at);
