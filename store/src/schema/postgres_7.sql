-- Version 7. The role that the submitter's certificate named, for a submitter whom no users file lists:
-- whoever runs the task later cannot look it up.

ALTER TABLE tasks ADD COLUMN certificate_role TEXT COLLATE "C";
