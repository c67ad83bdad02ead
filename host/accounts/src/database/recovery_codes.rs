//! Recovery codes: each replaces a code of the authenticator app, once.

use rusqlite::{Connection, Transaction};
use secrecy::SecretString;
use witgate_base::seal::{MacKey, SealingKey};
use zeroize::Zeroizing;

use crate::error::AccountsError;
use crate::random;

/// The number of codes of a user.
const NUMBER: usize = 10;

/// The number of characters, of 5 bits each. So nobody guesses a code, even with a copy of the database and its key
/// apart.
const LENGTH: usize = 12;

/// The number of characters between two hyphens.
const GROUP: usize = 4;

/// The alphabet of Crockford's base 32, without letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Replaces the codes of a user, and returns the new ones. The database has codes that need the key of the accounts.
pub(super) fn replace(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    user: &str,
) -> Result<Vec<SecretString>, AccountsError> {
    let key = key(seal);
    transaction.execute("DELETE FROM recovery_codes WHERE user = ?1", [user])?;
    let mut codes = Vec::with_capacity(NUMBER);
    while codes.len() < NUMBER {
        let code = new()?;
        let values = (user, mac(&key, user, &code));
        transaction.execute("INSERT INTO recovery_codes (user, mac) VALUES (?1, ?2)", values)?;
        codes.push(shown(&code).into());
    }
    Ok(codes)
}

/// Uses a code up. False: the user has no such code.
pub(super) fn take(
    transaction: &Transaction<'_>,
    seal: &SealingKey,
    user: &str,
    text: &str,
) -> Result<bool, AccountsError> {
    let Some(code) = read(text) else { return Ok(false) };
    let values = (user, mac(&key(seal), user, &code));
    let taken = transaction.execute("DELETE FROM recovery_codes WHERE user = ?1 AND mac = ?2", values)?;
    Ok(taken > 0)
}

/// The number of codes that a user has left.
pub(super) fn left(connection: &Connection, user: &str) -> Result<usize, AccountsError> {
    let query = "SELECT count(*) FROM recovery_codes WHERE user = ?1";
    let count: i64 = connection.query_row(query, [user], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

fn key(seal: &SealingKey) -> MacKey {
    seal.mac_key("recovery codes")
}

fn mac(key: &MacKey, user: &str, code: &str) -> Vec<u8> {
    key.code(&[user.as_bytes(), code.as_bytes()]).to_vec()
}

fn new() -> Result<Zeroizing<String>, AccountsError> {
    let bytes: [u8; LENGTH] = random::bytes()?;
    let character = |byte: &u8| ALPHABET.get(usize::from(byte % 32)).map(|byte| char::from(*byte));
    Ok(Zeroizing::new(bytes.iter().filter_map(character).collect()))
}

fn shown(code: &str) -> String {
    let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
    for (at, character) in code.chars().enumerate() {
        if at > 0 && at % GROUP == 0 {
            text.push('-');
        }
        text.push(character);
    }
    text
}

/// The code that somebody has entered. None: it cannot be one.
fn read(text: &str) -> Option<Zeroizing<String>> {
    let mut code = Zeroizing::new(String::with_capacity(LENGTH));
    for character in text.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        let character = match character.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        };
        let is_known = u8::try_from(character).is_ok_and(|byte| ALPHABET.contains(&byte));
        if !is_known || code.len() == LENGTH {
            return None;
        }
        code.push(character);
    }
    (code.len() == LENGTH).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = new().unwrap();
        let text = shown(&code);
        assert_eq!(text.len(), 14);
        for written in [text.clone(), text.to_uppercase(), text.replace('-', " "), text.replace('0', "O")] {
            assert_eq!(read(&written), Some(code.clone()), "{written}");
        }
        for other in ["", "123456", &text[1..], &format!("{text}0"), "!!!!-!!!!-!!!!"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
