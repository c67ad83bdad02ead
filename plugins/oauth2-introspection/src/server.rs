//! The requests to the authorization server. Every fault of them makes the policy unavailable, and says nothing about
//! the token.

use witgate_plugin::issuer::metadata_urls;
use witgate_plugin::{
    ClientAuth, ConfigError, Host, HttpError, HttpRequest, HttpResponse, Method, Unavailability, json,
};

use crate::signed_answer::{self, Signatures};
use crate::{QuestionStyle, tokeninfo};

/// The longest answer that is read, in bytes: enough for a user in thousands of groups. The cache does not store an
/// answer that is too long for the claims of an identity.
const MOST: usize = 512 << 10;

const JSON: &str = "application/json";

/// The time in seconds for which metadata is cached. It changes rarely, and an hour is usual for servers.
const METADATA_TTL_S: u32 = 3_600;

/// The cache key of the endpoint. The keys of tokens are digests, which are longer.
const METADATA: &[u8] = b"endpoint";

/// The authorization server.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    place: ServerPlace,
    auth: ClientAuth,
    /// None: answers are not signed.
    signatures: Option<Signatures>,
    style: QuestionStyle,
}

#[derive(Debug)]
enum ServerPlace {
    Endpoint(String),
    Issuer { issuer: String, metadata: Vec<String> },
}

impl AuthorizationServer {
    pub(crate) fn new(
        endpoint: Option<&str>,
        issuer: Option<&str>,
        auth: ClientAuth,
        signatures: Option<Signatures>,
    ) -> Result<Self, ConfigError> {
        let checked =
            |pointer, url: &str| check_url(url).map_err(|message| ConfigError::at(pointer, message));
        if let Some(endpoint) = endpoint {
            checked("/endpoint", endpoint)?;
        }
        if let Some(issuer) = issuer {
            checked("/issuer", issuer)?;
        }
        let place = match (endpoint, issuer) {
            (Some(endpoint), _) => ServerPlace::Endpoint(endpoint.to_owned()),
            (None, Some(issuer)) => {
                ServerPlace::Issuer { issuer: issuer.to_owned(), metadata: metadata_urls(issuer) }
            }
            (None, None) => {
                return Err(ConfigError::at("", "either `endpoint` or `issuer` is needed"));
            }
        };
        Ok(Self { place, auth, signatures, style: QuestionStyle::default() })
    }

    /// The same server, with questions of this form.
    pub(crate) fn asked_in(self, style: QuestionStyle) -> Self {
        Self { style, ..self }
    }

    /// Asks about a token, and returns the answer in the form of an introspection.
    pub(crate) async fn introspect<H: Host>(&self, host: &H, token: &str) -> Result<String, Unavailability> {
        match self.style {
            QuestionStyle::Rfc7662 => self.post(host, token).await,
            QuestionStyle::TokenInfo | QuestionStyle::UserInfo => self.get(host, token).await,
        }
    }

    async fn get<H: Host>(&self, host: &H, token: &str) -> Result<String, Unavailability> {
        let response = host
            .send(HttpRequest {
                method: Method::Get,
                url: self.endpoint(host).await?,
                headers: vec![
                    ("Authorization".to_owned(), format!("Bearer {token}")),
                    ("Accept".to_owned(), JSON.to_owned()),
                ],
                body: Vec::new(),
                client_auth: ClientAuth::None,
                share: true,
            })
            .await
            .map_err(unanswered)?;
        match response.status {
            200 => tokeninfo::as_introspection(&body(response, JSON)?, host.now()),
            // Witgate sends no credential of its own: these are about the token.
            400 | 401 => Ok(tokeninfo::INACTIVE.to_owned()),
            _ => Err(unexpected("endpoint", &response)),
        }
    }

    async fn post<H: Host>(&self, host: &H, token: &str) -> Result<String, Unavailability> {
        let response = host
            .send(HttpRequest {
                method: Method::Post,
                url: self.endpoint(host).await?,
                headers: vec![
                    ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
                    ("Accept".to_owned(), self.media_type().to_owned()),
                ],
                body: form(token).into_bytes(),
                client_auth: self.auth.clone(),
                share: true,
            })
            .await
            .map_err(unanswered)?;
        match response.status {
            200 => self.open(host, response).await,
            401 | 403 => Err(refused_client(&response)),
            _ => Err(unexpected("introspection endpoint", &response)),
        }
    }

    fn media_type(&self) -> &'static str {
        match self.signatures {
            Some(_) => signed_answer::MEDIA_TYPE,
            None => JSON,
        }
    }

    /// The plain answer. If answers have to be signed, it is the content of a valid signed answer.
    async fn open<H: Host>(&self, host: &H, response: HttpResponse) -> Result<String, Unavailability> {
        let text = body(response, self.media_type())?;
        match &self.signatures {
            Some(signatures) => signatures.open(host, &text).await,
            None => Ok(text),
        }
    }

    async fn endpoint<H: Host>(&self, host: &H) -> Result<String, Unavailability> {
        let (issuer, metadata) = match &self.place {
            ServerPlace::Endpoint(endpoint) => return Ok(endpoint.clone()),
            ServerPlace::Issuer { issuer, metadata } => (issuer, metadata),
        };
        if let Some(known) = host.cached(METADATA).and_then(|bytes| String::from_utf8(bytes).ok()) {
            return Ok(known);
        }
        let endpoint = discover(host, issuer, metadata).await?;
        host.cache(METADATA, endpoint.as_bytes(), METADATA_TTL_S);
        Ok(endpoint)
    }
}

/// Tries the URLs of RFC 8414 and OpenID Connect Discovery until one has usable metadata. If the server does not
/// answer at all, the other URLs are not tried.
async fn discover<H: Host>(host: &H, issuer: &str, urls: &[String]) -> Result<String, Unavailability> {
    let mut unusable = MetadataFaults::default();
    for url in urls {
        let response = host
            .send(HttpRequest {
                method: Method::Get,
                url: url.clone(),
                headers: vec![("Accept".to_owned(), "application/json".to_owned())],
                body: Vec::new(),
                client_auth: ClientAuth::None,
                share: true,
            })
            .await
            .map_err(unanswered)?;
        match response.status {
            200 => match body(response, JSON).and_then(|metadata| endpoint_in(&metadata, issuer)) {
                Ok(endpoint) => return Ok(endpoint),
                Err(reason) => unusable.add(reason),
            },
            _ => unusable.add(unexpected("metadata", &response)),
        }
    }
    Err(unusable.unavailability())
}

/// The fault of each URL of the metadata.
#[derive(Default)]
struct MetadataFaults {
    reasons: Vec<String>,
    retry_after: Option<u32>,
}

impl MetadataFaults {
    fn add(&mut self, reason: Unavailability) {
        self.retry_after = self.retry_after.max(reason.retry_after);
        self.reasons.push(reason.detail);
    }

    fn unavailability(self) -> Unavailability {
        let reasons = self.reasons.join("; ");
        Unavailability::new(
            format!("the issuer has no usable metadata; set `endpoint` (reason for each URL: {reasons})"),
            self.retry_after,
        )
    }
}

fn endpoint_in(metadata: &str, issuer: &str) -> Result<String, Unavailability> {
    let odd = |detail: &str| Unavailability::new(detail, None);
    let metadata =
        json::parse_object(metadata).map_err(|_| odd("the issuer's metadata is not a strict JSON object"))?;
    // RFC 8414, section 3.3. Otherwise one issuer could publish metadata for another.
    if metadata.get("issuer").and_then(|value| value.as_str()) != Some(issuer) {
        return Err(odd("the metadata names another issuer than the configured one"));
    }
    let endpoint = metadata.get("introspection_endpoint").and_then(|value| value.as_str());
    let endpoint = endpoint.ok_or_else(|| odd("the issuer's metadata names no introspection endpoint"))?;
    check_url(endpoint).map_err(|_| odd("the issuer's introspection endpoint is not an absolute URL"))?;
    if issuer.starts_with("https://") && !endpoint.starts_with("https://") {
        return Err(odd(
            "the issuer's introspection endpoint has no TLS, so it would receive tokens unencrypted",
        ));
    }
    Ok(endpoint.to_owned())
}

fn check_url(url: &str) -> Result<(), &'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_graphic() && !"#\\\"<>".contains(c);
    match !authority.is_empty() && !authority.contains('@') && url.chars().all(plain) {
        true => Ok(()),
        false => Err("not an absolute http or https URL without user and fragment"),
    }
}

/// The form of RFC 7662, section 2.1.
fn form(token: &str) -> String {
    let mut form = String::with_capacity(token.len() + 40);
    form.push_str("token=");
    for byte in token.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => form.push(byte.into()),
            _ => form.push_str(&format!("%{byte:02X}")),
        }
    }
    form.push_str("&token_type_hint=access_token");
    form
}

fn body(response: HttpResponse, wanted: &str) -> Result<String, Unavailability> {
    let odd = |detail: &str| Unavailability::new(detail, None);
    let media = response.content_type.as_deref().and_then(|typ| typ.split(';').next()).unwrap_or_default();
    if !media.trim().eq_ignore_ascii_case(wanted) {
        return Err(odd(&format!("the server's answer is not {wanted}")));
    }
    if response.body.len() > MOST {
        return Err(odd("the server's answer exceeds 512 KiB"));
    }
    String::from_utf8(response.body).map_err(|_| odd("the server's answer is not UTF-8"))
}

fn refused_client(response: &HttpResponse) -> Unavailability {
    let detail = format!(
        "the server refuses Witgate itself with status {}: check `client_id`, `client_secret` or \
         `client_key`, and `auth_method`, and whether that client may introspect",
        response.status
    );
    Unavailability::new(detail, response.retry_after)
}

fn unexpected(what: &str, response: &HttpResponse) -> Unavailability {
    Unavailability::new(format!("{what}: unexpected status {}", response.status), response.retry_after)
}

fn unanswered(error: HttpError) -> Unavailability {
    let detail = match error {
        HttpError::NotGranted => {
            "the endpoint's origin is not granted, or the host does not connect to its address; if the \
             issuer has its endpoint at another origin, set `endpoint`"
        }
        HttpError::InvalidRequest => "the host refused the request as invalid",
        HttpError::Unreachable => "the server cannot be reached",
        HttpError::TimedOut => "the server did not answer in time",
        HttpError::TooLarge => "the server's answer exceeds the limit of the host",
        HttpError::Resting(_) => {
            "the server was not asked, because it keeps failing or too many requests wait for it"
        }
    };
    let retry_after = match error {
        HttpError::Resting(seconds) => Some(seconds),
        _ => None,
    };
    Unavailability::new(detail, retry_after)
}
