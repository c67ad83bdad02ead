-- The keys that users have made for themselves, by their digest. An ended one stays for a day, so that its use can be
-- told from that of an unknown one.
CREATE TABLE own_keys (
    id      TEXT PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    digest  BLOB NOT NULL UNIQUE,
    scopes  TEXT NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    ended   INTEGER
) STRICT;
CREATE UNIQUE INDEX names_of_own_keys ON own_keys (user, name) WHERE ended IS NULL;
