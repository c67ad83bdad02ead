-- The identities of users at providers. Only the id of a subject counts, and its issuer.
CREATE TABLE identities (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    created INTEGER NOT NULL,
    used    INTEGER,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_of_user ON identities (user);

-- The identities that operators have taken away. Neither an address nor a rule gives them an account again.
CREATE TABLE unlinked_identities (
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

-- The issuer whose people got an account by themselves. NULL: an operator has made the account.
ALTER TABLE users ADD COLUMN made_by TEXT;
CREATE INDEX made_users ON users (made_by) WHERE made_by IS NOT NULL;
