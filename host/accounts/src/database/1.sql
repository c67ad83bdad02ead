-- The id of the database, by which the files beside it are known.
CREATE TABLE identity (
    id BLOB PRIMARY KEY
) STRICT;
INSERT INTO identity (id) VALUES (randomblob(16));

CREATE TABLE users (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    hash     TEXT NOT NULL,
    created  INTEGER NOT NULL,
    disabled INTEGER
) STRICT;

CREATE TABLE roles (
    user TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (user, role)
) STRICT, WITHOUT ROWID;

-- The sessions of browsers, by the digest of their secret.
CREATE TABLE sessions (
    digest  BLOB PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created INTEGER NOT NULL,
    used    INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user, used);

-- The access of clients. A grant of a removed user stays until its last token has expired. `issued` and `token_end` are
-- of its newest access token; a covered one has ended with all tokens of its user.
CREATE TABLE grants (
    id          BLOB PRIMARY KEY,
    user        TEXT NOT NULL,
    client      TEXT NOT NULL,
    client_name TEXT NOT NULL,
    resource    TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    secret      TEXT NOT NULL,
    counter     INTEGER NOT NULL,
    rotated     INTEGER NOT NULL,
    created     INTEGER NOT NULL,
    logged_in   INTEGER NOT NULL,
    used        INTEGER NOT NULL,
    issued      INTEGER NOT NULL DEFAULT 0,
    token_end   INTEGER NOT NULL DEFAULT 0,
    ended       INTEGER,
    reason      TEXT,
    covered     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX grants_of_user ON grants (user, used);
CREATE INDEX ended_grants ON grants (token_end) WHERE ended IS NOT NULL;

-- The users all of whose tokens from before a time have ended.
CREATE TABLE user_endings (
    user      TEXT PRIMARY KEY,
    before    INTEGER NOT NULL,
    token_end INTEGER NOT NULL
) STRICT;

-- Authorization codes, by their digest.
CREATE TABLE codes (
    digest    BLOB PRIMARY KEY,
    grant_id  BLOB NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    redirect  TEXT NOT NULL,
    challenge TEXT NOT NULL,
    created   INTEGER NOT NULL,
    used      INTEGER
) STRICT;
CREATE INDEX codes_of_grant ON codes (grant_id);

-- The private keys of tokens, sealed. A key without `signs_from` is published, and signs later; one with `retired` signs
-- no more, and is published until then.
CREATE TABLE signing_keys (
    id         TEXT PRIMARY KEY,
    sealed     TEXT NOT NULL,
    created    INTEGER NOT NULL,
    signs_from INTEGER,
    retired    INTEGER
) STRICT;

-- The changes that the audit log does not have yet.
CREATE TABLE events (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL
) STRICT;
