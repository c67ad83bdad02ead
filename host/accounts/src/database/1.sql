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

-- The access of clients. A grant of a removed user stays until its last token has expired.
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
    ended       INTEGER,
    reason      TEXT
) STRICT;
CREATE INDEX grants_of_user ON grants (user, used);
CREATE INDEX ended_grants ON grants (ended) WHERE ended IS NOT NULL;

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

-- The private keys of tokens, sealed, and their public halves.
CREATE TABLE signing_keys (
    id      TEXT PRIMARY KEY,
    sealed  TEXT NOT NULL,
    created INTEGER NOT NULL,
    retired INTEGER
) STRICT;
