-- The browsers in which a user has shown a code and need not show another for some time, by the digest of a secret.
CREATE TABLE remembered_browsers (
    digest  BLOB PRIMARY KEY,
    user    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created INTEGER NOT NULL
) STRICT;
CREATE INDEX remembered_browsers_of_user ON remembered_browsers (user, created);

-- They are of one authenticator app.
CREATE TRIGGER new_authenticators_forget_browsers AFTER INSERT ON authenticators
BEGIN
    DELETE FROM remembered_browsers WHERE user = new.user;
END;
CREATE TRIGGER removed_authenticators_forget_browsers AFTER DELETE ON authenticators
BEGIN
    DELETE FROM remembered_browsers WHERE user = old.user;
END;
