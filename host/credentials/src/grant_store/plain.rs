//! The form of a file that other programs read, too: tokens in clear, as an answer of a token endpoint has them (RFC 6749,
//! section 5.1).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};

use super::{GrantBinding, GrantError, GrantStore, StoredGrant};

/// The largest file that is read.
const LARGEST: u64 = 1 << 20;

/// Times beyond it are in milliseconds: that of the year 5138 in seconds, and that of 1973 in milliseconds.
const MILLISECONDS: u64 = 100_000_000_000;

impl GrantStore {
    /// The grant in the file at `path`. None: there is none for this client and server.
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged.
    pub(super) fn read_plain(&self, path: &Path) -> Result<Option<StoredGrant>, GrantError> {
        let read = read(path).map_err(|error| GrantError::Io { path: path.to_owned(), error })?;
        let Some(text) = read else { return Ok(None) };
        let damaged = |why: String| GrantError::Damaged { path: path.to_owned(), why };
        let (grant, binding) = parse(&text).map_err(damaged)?;
        Ok(binding.is_none_or(|binding| binding == self.binding).then_some(grant))
    }

    /// The text of a file with this grant.
    pub(super) fn plain_text(&self, grant: &StoredGrant) -> Vec<u8> {
        text(grant, &self.binding).into_bytes()
    }

    /// True if `text` is that of a whole file.
    pub(super) fn is_whole_plain(text: &[u8]) -> bool {
        parse(text).is_ok()
    }
}

fn text(grant: &StoredGrant, binding: &GrantBinding) -> String {
    let all = json!({
        "access_token": grant.access.expose_secret(),
        "refresh_token": grant.refresh.as_ref().map(|refresh| refresh.expose_secret()),
        "token_type": "Bearer",
        "expires_at": grant.end,
        "renew_at": grant.renewal,
        "scope": grant.scopes.join(" "),
        "account": grant.account,
        "has_ended": grant.has_ended.then_some(true),
        "binding": binding,
    });
    let Value::Object(mut all) = all else { return String::new() };
    all.retain(|_, value| !value.is_null());
    format!("{:#}", Value::Object(all))
}

/// The grant in the text of a file, and the client and server that it belongs to, if the text names them: files of other
/// programs do not.
///
/// # Errors
/// With the reason why it is none.
fn parse(text: &[u8]) -> Result<(StoredGrant, Option<GrantBinding>), String> {
    let all: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let member = |name: &str| all.get(name).filter(|value| !value.is_null());
    let text = |name: &str| member(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let time = |name: &str| member(name).and_then(time);
    let access = text("access_token").ok_or("it has no `access_token`")?;
    let refresh = text("refresh_token").map(SecretString::from);
    // A token of unknown age may end at any moment, unless nothing could renew it.
    let end = time("expires_at").or_else(|| refresh.as_ref().map(|_| 0));
    let binding = member("binding").map(|binding| serde_json::from_value(binding.clone()));
    let grant = StoredGrant {
        account: text("account").map(str::to_owned),
        access: access.into(),
        refresh,
        end,
        renewal: time("renew_at").or(end),
        scopes: text("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        has_ended: member("has_ended") == Some(&Value::Bool(true)),
    };
    Ok((grant, binding.transpose().map_err(|error| error.to_string())?))
}

/// A time in seconds since 1970.
fn time(written: &Value) -> Option<u64> {
    let seconds = written.as_u64().or_else(|| written.as_f64().map(|seconds| seconds.max(0.0) as u64))?;
    Some(if seconds > MILLISECONDS { seconds / 1000 } else { seconds })
}

/// The content of the file at `path`. None: there is none.
///
/// # Errors
/// If it is a link, or others may read it.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(no_follow).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(io::Error::other("others may read it; `chmod 600` it, and log in again if they did"));
    }
    let mut text = Vec::new();
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> StoredGrant {
        StoredGrant {
            account: Some("octocat".to_owned()),
            access: "access".into(),
            refresh: Some("refresh".into()),
            end: Some(2_000_000_000),
            renewal: Some(1_999_999_700),
            scopes: vec!["repo".to_owned(), "read:user".to_owned()],
            has_ended: false,
        }
    }

    #[test]
    fn a_grant_is_read_as_it_was_written() {
        let (token_url, client_id) = ("https://a.example.com/token".to_owned(), "gate".to_owned());
        let binding = GrantBinding { token_url, client_id, resource: None };
        let written = text(&grant(), &binding);
        let (read, bound) = parse(written.as_bytes()).unwrap();
        assert_eq!(bound.as_ref(), Some(&binding));
        assert_eq!(text(&read, &binding), written);
        let ended = StoredGrant { has_ended: true, refresh: None, end: None, renewal: None, ..grant() };
        let (read, _) = parse(text(&ended, &binding).as_bytes()).unwrap();
        assert!(read.has_ended && read.refresh.is_none() && read.end.is_none());
    }

    #[test]
    fn a_file_of_another_program_is_read() {
        for (others, end) in [
            (r#","refresh_token":"r""#, Some(0)),
            ("", None),
            (r#","refresh_token":"r","expires_at":1999999999"#, Some(1_999_999_999)),
            (r#","refresh_token":"r","expires_at":1999999999.5"#, Some(1_999_999_999)),
            (r#","refresh_token":"r","expires_at":1999999999000,"user":{}"#, Some(1_999_999_999)),
        ] {
            let (grant, binding) = parse(format!(r#"{{"access_token":"a"{others}}}"#).as_bytes()).unwrap();
            assert_eq!((grant.end, grant.renewal, binding), (end, end, None), "{others}");
        }
        for wrong in ["", "[]", "{}", r#"{"access_token":""}"#, r#"{"access_token":"a","binding":1}"#] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
