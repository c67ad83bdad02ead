-- How a person logged in, and with which browser.
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
ALTER TABLE sessions ADD COLUMN browser TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN method TEXT NOT NULL DEFAULT 'password';

-- The one-time link of a user, by the digest of its secret.
CREATE TABLE links (
    user   TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    digest BLOB NOT NULL UNIQUE,
    ends   INTEGER NOT NULL
) STRICT;

-- Logins between the password and the second factor, by the digest of their secret.
CREATE TABLE begun_logins (
    digest  BLOB PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX begun_logins_of_user ON begun_logins (user, created);

-- The secrets that people share with their authenticator apps, sealed.
CREATE TABLE authenticators (
    user      TEXT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret    TEXT NOT NULL,
    created   INTEGER NOT NULL,
    -- The step of the last code, which cannot be used again.
    last_step INTEGER NOT NULL,
    failures  INTEGER NOT NULL DEFAULT 0,
    failed    INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Secrets that a page has shown and that no code has confirmed yet, by the digest of the session or begun login.
CREATE TABLE offered_authenticators (
    digest  BLOB PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    secret  TEXT NOT NULL,
    created INTEGER NOT NULL
) STRICT;

-- The recovery codes that are left, each as a code that needs the key of the accounts.
CREATE TABLE recovery_codes (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    mac  BLOB NOT NULL,
    PRIMARY KEY (user, mac)
) STRICT, WITHOUT ROWID;

-- The public keys of passkeys, by the ids of their credentials.
CREATE TABLE passkeys (
    id        BLOB PRIMARY KEY,
    user      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name      TEXT NOT NULL,
    algorithm INTEGER NOT NULL,
    key       BLOB NOT NULL,
    counter   INTEGER NOT NULL,
    created   INTEGER NOT NULL,
    used      INTEGER
) STRICT;
CREATE INDEX passkeys_of_user ON passkeys (user, created);

-- The challenges that a passkey has answered, each of which counts once.
CREATE TABLE answered_challenges (
    digest  BLOB PRIMARY KEY,
    created INTEGER NOT NULL
) STRICT;
