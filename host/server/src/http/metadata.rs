//! The public documents: the metadata of protected resources (RFC 9728), and the key set with which upstreams check
//! Witgate's tokens (RFC 7517). Without authorization servers there is no metadata, so that no client starts a login
//! that cannot succeed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use ::http::{HeaderValue, Response};
use bytes::Bytes;
use serde_json::{Value, json};
use url::Url;
use witgate_plugin::Scheme;

use super::body::Body;
use super::paths::at;
use super::served_endpoint::ServedEndpoint;
use super::served_flow::ServedFlow;
use witgate_base::signing::PublishedKeys;
use witgate_config::ResourceDescription;
use witgate_flow::dpop::ALGORITHMS;
use witgate_flow::reject::wire::is_offered;
use witgate_policy::generation::Generation;

/// The path of the key set.
const KEY_SET: &str = "/.well-known/jwks.json";

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The documents: the resources by the paths of their documents, and the URLs of the documents by resource.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    authorization_servers: Vec<String>,
    resources: Vec<DescribedResource>,
    documents: HashMap<String, usize>,
    urls: HashMap<String, String>,
    keys: Arc<PublishedKeys>,
}

/// A resource with a document.
#[derive(Debug)]
struct DescribedResource {
    resource: String,
    about: ResourceDescription,
    /// The places of its upstreams, which have the same authenticators.
    upstreams: Vec<usize>,
}

impl Metadata {
    /// The documents of all endpoints.
    pub(super) fn new<U>(served: &[ServedEndpoint<U>], authorization_servers: &[String]) -> Self {
        let mut metadata = Self { authorization_servers: authorization_servers.to_vec(), ..Self::default() };
        if authorization_servers.is_empty() {
            return metadata;
        }
        let one = |endpoint: &&ServedEndpoint<U>| matches!(endpoint.flow, ServedFlow::One(_));
        let is_alone = served.iter().filter(one).count() == 1;
        for endpoint in served {
            metadata.add(endpoint, is_alone && one(&endpoint));
        }
        metadata
    }

    /// The same, with this key set.
    pub(super) fn with_keys(self, keys: Arc<PublishedKeys>) -> Self {
        Self { keys, ..self }
    }

    /// Adds the document of a resource at three paths: the well-known path of the resource itself (RFC 9728 §3.1); the
    /// well-known path of the path served here, which differs if a proxy changes paths; and, if there is only one
    /// upstream, the well-known path without a suffix.
    fn add<U>(&mut self, endpoint: &ServedEndpoint<U>, alone: bool) {
        let (resource, number) = (&endpoint.resource, self.resources.len());
        // An endpoint at the root has no slash here (RFC 9728 §3.1).
        self.documents.insert(format!("{WELL_KNOWN}{}", endpoint.path.trim_end_matches('/')), number);
        if alone {
            self.documents.insert(WELL_KNOWN.to_owned(), number);
        }
        if let Ok(mut url) = Url::parse(resource) {
            let path = format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            self.documents.insert(path, number);
            self.urls.insert(resource.clone(), url.into());
        }
        self.resources.push(DescribedResource {
            resource: resource.clone(),
            about: endpoint.about.clone(),
            upstreams: endpoint.places.clone(),
        });
    }

    /// The paths of the documents.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.documents.keys().map(String::as_str)
    }

    /// True if there is a document at the path.
    pub(super) fn has(&self, path: &str) -> bool {
        at(&self.documents, path).is_some() || path == KEY_SET && self.keys.document().is_some()
    }

    /// The document at a path, with the policies of `generation`.
    pub(super) fn document(&self, path: &str, generation: &Generation) -> Option<Bytes> {
        if path == KEY_SET {
            return self.keys.document();
        }
        let number = *at(&self.documents, path)?;
        let DescribedResource { resource, about, upstreams } = self.resources.get(number)?;
        let pipelines = || upstreams.iter().map(|place| generation.pipeline(*place));
        let mut document = json!({
            "resource": resource,
            "authorization_servers": self.authorization_servers,
            "bearer_methods_supported": ["header"],
        });
        let scopes = pipelines().flat_map(|pipeline| {
            let asked = pipeline.authorize.iter().flat_map(|policy| policy.scopes());
            asked.chain(&pipeline.scopes)
        });
        let scopes: BTreeSet<_> = scopes.filter(|scope| is_offered(scope)).collect();
        if let Value::Object(members) = &mut document {
            members.extend(about.members().map(|(name, value)| (name.to_owned(), json!(value))));
            if !scopes.is_empty() {
                members.insert("scopes_supported".to_owned(), json!(scopes));
            }
            if pipelines().any(|pipeline| pipeline.judges(Scheme::Dpop)) {
                let algorithms: Vec<_> = ALGORITHMS.split(' ').collect();
                members.insert("dpop_signing_alg_values_supported".to_owned(), json!(algorithms));
            }
        }
        Some(Bytes::from(document.to_string()))
    }

    /// The URL of a resource's document.
    pub(super) fn url(&self, resource: &str) -> Option<&str> {
        self.urls.get(resource).map(String::as_str)
    }
}

/// The response with a document. Caches may store it, because it is public.
pub(super) fn response(document: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
