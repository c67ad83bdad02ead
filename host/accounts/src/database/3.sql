-- The keys that users have made for themselves, by their digest. An ended one stays for a day, so that its use can be
-- told from that of an unknown one. A key that a program has made belongs to its grant, and is for its resource alone.
-- `strong` is 1 if the maker had shown a second factor.
CREATE TABLE own_keys (
    id       TEXT PRIMARY KEY,
    user     TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    digest   BLOB NOT NULL UNIQUE,
    scopes   TEXT NOT NULL,
    created  INTEGER NOT NULL,
    expires  INTEGER,
    ended    INTEGER,
    strong   INTEGER NOT NULL,
    grant_id BLOB REFERENCES grants (id) ON DELETE CASCADE,
    resource TEXT
) STRICT;
CREATE UNIQUE INDEX names_of_own_keys ON own_keys (user, name) WHERE ended IS NULL;
CREATE INDEX own_keys_of_grant ON own_keys (grant_id);

-- However a grant ends, its keys end with it.
CREATE TRIGGER own_keys_end_with_grants AFTER UPDATE OF ended ON grants WHEN new.ended IS NOT NULL
BEGIN
    UPDATE own_keys SET ended = new.ended WHERE grant_id = new.id AND ended IS NULL;
END;
