-- Whether a passkey may be on several devices (the flag BE), which never changes. NULL: nobody has noted it.
ALTER TABLE passkeys ADD COLUMN backup_eligible INTEGER;

-- The user who has answered a challenge.
ALTER TABLE answered_challenges ADD COLUMN user TEXT;
CREATE INDEX answered_challenges_of_user ON answered_challenges (user, created);
