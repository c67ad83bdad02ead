//! RFC 9728 protected resource metadata. There is none without authorization servers, so that no
//! client starts a login that cannot succeed.

use std::collections::HashMap;

use ::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE};
use ::http::{HeaderValue, Response};
use bytes::Bytes;
use serde_json::json;
use url::Url;

use super::body::Body;
use crate::config::Upstream;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The documents by their paths, and their URLs by resource.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    documents: HashMap<String, Bytes>,
    urls: HashMap<String, String>,
}

impl Metadata {
    /// The documents of all upstreams.
    pub(super) fn new(upstreams: &[Upstream], authorization_servers: &[String]) -> Self {
        let mut metadata = Self::default();
        if authorization_servers.is_empty() {
            return metadata;
        }
        for upstream in upstreams {
            metadata.add(upstream, authorization_servers, upstreams.len() == 1);
        }
        metadata
    }

    /// The document of a resource: at the well-known path before the resource's own (RFC 9728
    /// §3.1), before the path served here, which a proxy may have changed, and at the root form,
    /// which can only speak for one.
    fn add(&mut self, upstream: &Upstream, authorization_servers: &[String], alone: bool) {
        let document = json!({
            "resource": upstream.resource,
            "authorization_servers": authorization_servers,
            "bearer_methods_supported": ["header"],
        });
        let document = Bytes::from(document.to_string());
        self.documents.insert(format!("{WELL_KNOWN}{}", upstream.path), document.clone());
        if alone {
            self.documents.insert(WELL_KNOWN.to_owned(), document.clone());
        }
        if let Ok(mut url) = Url::parse(&upstream.resource) {
            let path = format!("{WELL_KNOWN}{}", url.path().trim_end_matches('/'));
            url.set_path(&path);
            self.documents.insert(path, document);
            self.urls.insert(upstream.resource.clone(), url.into());
        }
    }

    /// The document at a path.
    pub(super) fn document(&self, path: &str) -> Option<Bytes> {
        self.documents.get(path).cloned()
    }

    /// Where the document of a resource is.
    pub(super) fn url(&self, resource: &str) -> Option<&str> {
        self.urls.get(resource).map(String::as_str)
    }
}

/// A document as answer. It is public, and clients in browsers read it from other origins.
pub(super) fn response(document: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::whole(document));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}
