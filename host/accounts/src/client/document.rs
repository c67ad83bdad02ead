//! Clients whose id is the URL of a document about them (OAuth client ID metadata documents). Their host vouches for
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use quick_cache::sync::Cache;
use serde::Deserialize;
use tokio::time::timeout;
use url::{Host, Url};

use super::description::{OauthClient, Redirects, shown_name};
use crate::redirect::RedirectUri;
use witgate_base::breaker::CallerDigest;
use witgate_runtime::shares::{Capacity, Shares};
use witgate_services::fetch::{Fetcher, Origin, Reach};
use witgate_services::network::Ways;

/// The largest document, in bytes.
const LARGEST: usize = 5 << 10;

/// The longest time of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// The documents that are remembered.
const REMEMBERED: usize = 256;

/// The shortest and the longest time for which a document is remembered.
const SHORTEST: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(86_400);

/// The requests at the same time, of all senders and of one.
const AT_ONCE: Capacity = Capacity { most: 16, most_of_one: 4 };

/// The longest URL of a document, in bytes.
const LONGEST_URL: usize = 512;

const LONGEST_NAME: usize = 80;

/// The most redirect URIs of a document.
const MOST_REDIRECTS: usize = 64;

/// The reason why a client is not known by its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DocumentFault {
    /// The id is not a URL that may be fetched.
    #[error("the id of the client is not the URL of a document")]
    Url,
    /// The address is not public.
    #[error("the document is not at a public address")]
    Private,
    /// There is no answer.
    #[error("the document about the client cannot be fetched")]
    Fetch,
    /// Too many documents are being fetched.
    #[error("too many documents are being fetched")]
    Busy,
    /// The answer is no document about a client.
    #[error("the document about the client is not valid")]
    Shape,
    /// The document is about another client.
    #[error("the document is about another client")]
    Mismatch,
}

impl DocumentFault {
    /// The code of the fault, for the log.
    pub fn code(self) -> &'static str {
        match self {
            Self::Url => "client-unknown",
            Self::Private => "cimd-private",
            Self::Fetch => "cimd-fetch",
            Self::Busy => "cimd-busy",
            Self::Shape => "cimd-shape",
            Self::Mismatch => "cimd-mismatch",
        }
    }
}

/// The documents of clients.
#[derive(Debug)]
pub struct ClientDocuments {
    ways: Arc<Ways>,
    known: Cache<String, (Arc<OauthClient>, Instant)>,
    places: Shares<CallerDigest>,
}

impl ClientDocuments {
    /// Documents that are fetched on these ways.
    pub fn new(ways: Arc<Ways>) -> Self {
        Self { ways, known: Cache::new(REMEMBERED), places: Shares::new(AT_ONCE) }
    }

    /// The client whose document is at the URL `id`, for a request from `source`.
    ///
    /// # Errors
    /// With the reason why it is not known.
    pub async fn client(&self, id: &str, source: CallerDigest) -> Result<Arc<OauthClient>, DocumentFault> {
        let url = url_of(id).ok_or(DocumentFault::Url)?;
        if let Some((client, end)) = self.known.get(id)
            && Instant::now() < end
        {
            return Ok(client);
        }
        let _place = self.places.take(&source).ok_or(DocumentFault::Busy)?;
        let answer = timeout(PATIENCE, self.fetch(&url)).await;
        let (headers, body) = answer.map_err(|_| DocumentFault::Fetch)??;
        let client = Arc::new(read(id, &url, &body)?);
        self.known.insert(id.to_owned(), (Arc::clone(&client), Instant::now() + lifetime(&headers)));
        Ok(client)
    }

    async fn fetch(&self, url: &Url) -> Result<(HeaderMap, Bytes), DocumentFault> {
        let origin = Origin::of(url).ok_or(DocumentFault::Url)?;
        let origins = HashMap::from([(origin, Reach::Public)]);
        let fetcher = Fetcher::new(Arc::clone(&self.ways), origins, HashMap::new());
        let answer = fetcher.document(url, "application/json").await.map_err(|error| {
            tracing::debug!(client = %url, why = %error, "the document of a client cannot be fetched");
            match error.error {
                witgate_plugin::HttpError::NotGranted => DocumentFault::Private,
                _ => DocumentFault::Fetch,
            }
        })?;
        let (head, body) = answer.into_parts();
        let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_json = content_type.is_some_and(|text| {
            let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            media == "application/json" || media.starts_with("application/") && media.ends_with("+json")
        });
        match head.status.as_u16() == 200 && is_json && body.len() <= LARGEST {
            true => Ok((head.headers, body)),
            false if head.status.as_u16() == 200 => Err(DocumentFault::Shape),
            false => Err(DocumentFault::Fetch),
        }
    }
}

/// True if an id is meant as the URL of a document.
pub fn is_id(id: &str) -> bool {
    id.starts_with("https://")
}

/// The URL that is an id. It has only one form, so that ids can be compared byte by byte.
fn url_of(id: &str) -> Option<Url> {
    let url = Url::parse(id).ok().filter(|url| id.len() <= LONGEST_URL && url.as_str() == id)?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.port().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let is_named =
        matches!(url.host(), Some(Host::Domain(name)) if name.contains('.') && !name.ends_with('.'));
    let is_fine = url.scheme() == "https" && is_plain && is_named && url.path().len() > 1;
    is_fine.then_some(url)
}

#[derive(Deserialize)]
struct ClientDocument {
    client_id: String,
    client_name: String,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
    client_secret: Option<serde_json::Value>,
    client_secret_expires_at: Option<serde_json::Value>,
}

impl ClientDocument {
    /// True if the client can do without a secret.
    fn is_public(&self) -> bool {
        let method = self.token_endpoint_auth_method.as_deref();
        let has_secret = self.client_secret.is_some() || self.client_secret_expires_at.is_some();
        let takes_none = self.token_endpoint_auth_methods_supported.iter().any(|method| method == "none");
        !has_secret && (method.is_none_or(|method| method == "none") || takes_none)
    }
}

/// The client that the document with this id describes.
///
/// # Errors
/// If the id is no URL of a document, or the document is not about this client.
pub fn described(id: &str, body: &[u8]) -> Result<OauthClient, DocumentFault> {
    read(id, &url_of(id).ok_or(DocumentFault::Url)?, body)
}

fn read(id: &str, url: &Url, body: &[u8]) -> Result<OauthClient, DocumentFault> {
    let document: ClientDocument = serde_json::from_slice(body).map_err(|_| DocumentFault::Shape)?;
    if document.client_id != id {
        return Err(DocumentFault::Mismatch);
    }
    let name = shown_name(&document.client_name, LONGEST_NAME);
    let redirects = document.redirect_uris.iter().take(MOST_REDIRECTS);
    let forms: Vec<_> =
        redirects.filter_map(|text| RedirectUri::parse(text)).map(|uri| uri.compared()).collect();
    if name.is_empty() || forms.is_empty() || !document.is_public() {
        return Err(DocumentFault::Shape);
    }
    let host = url.host_str().map(str::to_owned);
    Ok(OauthClient { id: id.to_owned(), name, host, redirects: Redirects::Forms(forms) })
}

/// The time for which an answer is remembered.
fn lifetime(headers: &HeaderMap) -> Duration {
    let control = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seconds = control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0)).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "https://claude.ai/oauth/mcp-oauth-client-metadata";

    fn judge(change: impl FnOnce(&mut Value)) -> Result<OauthClient, DocumentFault> {
        let mut document = json!({
            "client_id": ID, "client_name": "Claude", "redirect_uris": ["https://claude.ai/api/mcp/auth_callback"],
            "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
        });
        change(&mut document);
        read(ID, &Url::parse(ID).unwrap(), document.to_string().as_bytes())
    }

    #[test]
    fn a_client_is_what_its_document_says() {
        let client = judge(|_| {}).unwrap();
        assert_eq!((client.name.as_str(), client.host.as_deref()), ("Claude", Some("claude.ai")));
        assert!(client.has_redirect(&RedirectUri::parse("https://claude.ai/api/mcp/auth_callback").unwrap()));
        assert!(!client.has_redirect(&RedirectUri::parse("https://claude.ai/other").unwrap()));
    }

    #[test]
    fn clients_that_can_do_without_a_secret_do() {
        let method = |method: &str, methods: Value| {
            judge(|document| {
                document["token_endpoint_auth_method"] = method.into();
                document["token_endpoint_auth_methods_supported"] = methods;
            })
        };
        assert!(method("private_key_jwt", json!(["none", "private_key_jwt"])).is_ok());
        assert_eq!(method("private_key_jwt", json!([])), Err(DocumentFault::Shape));
        assert_eq!(method("client_secret_basic", json!(["client_secret_post"])), Err(DocumentFault::Shape));
    }

    #[test]
    fn other_documents_are_refused() {
        let mismatch = judge(|document| document["client_id"] = "https://claude.ai/other".into());
        assert_eq!(mismatch, Err(DocumentFault::Mismatch));
        for (member, value) in [
            ("client_secret", json!("x")),
            ("client_name", json!("")),
            ("redirect_uris", json!([])),
            ("redirect_uris", json!(["javascript:alert(1)"])),
            ("redirect_uris", json!("https://claude.ai/x")),
            ("client_name", Value::Null),
        ] {
            let judged = judge(|document| document[member] = value.clone());
            assert_eq!(judged, Err(DocumentFault::Shape), "{member} {value}");
        }
    }

    #[test]
    fn an_id_has_one_form_and_a_public_name() {
        assert!(url_of(ID).is_some());
        for id in [
            "http://claude.ai/x",
            "https://claude.ai",
            "https://claude.ai/",
            "https://claude.ai:443/x",
            "https://claude.ai:8443/x",
            "https://u@claude.ai/x",
            "https://claude.ai/x#f",
            "https://claude.ai/x?q",
            "https://claude.ai/a/../x",
            "https://claude.ai/./x",
            "https://CLAUDE.ai/x",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://localhost/x",
            "https://2130706433/x",
            "https://claude.ai./x",
            "https://0x7f.1/x",
            "https:\\\\claude.ai\\x",
            "https://claude.ai/\u{e9}",
        ] {
            assert!(url_of(id).is_none(), "{id}");
        }
    }

    #[tokio::test]
    async fn ids_of_other_forms_are_not_fetched() {
        let documents = ClientDocuments::new(Ways::closed());
        let source = CallerDigest::of_peer(None);
        assert_eq!(documents.client("https://127.0.0.1/x", source).await, Err(DocumentFault::Url));
    }
}
