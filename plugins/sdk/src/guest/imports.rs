//! The host functions, called through the imports of a component.

#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated"
)]

use std::borrow::Cow;

use crate as sdk;

wit_bindgen::generate!({
    path: "wit",
    world: "imports",
    generate_all,
});

use witgate::auth::{cache, caller, clock, crypto, http, log, request, secrets, verdict_memory};

/// The host that a component runs in.
#[derive(Clone, Copy, Debug)]
pub struct GuestHost;

impl sdk::Host for GuestHost {
    fn now(&self) -> u64 {
        clock::now()
    }

    fn log(&self, level: sdk::Level, message: &str) {
        let level = match level {
            sdk::Level::Debug => log::Level::Debug,
            sdk::Level::Info => log::Level::Info,
            sdk::Level::Warn => log::Level::Warn,
            sdk::Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }

    fn keep_verdict(&self, until: u64) {
        verdict_memory::keep_until(until);
    }

    fn upstream(&self) -> Cow<'_, str> {
        request::upstream().into()
    }

    fn audience(&self) -> Cow<'_, str> {
        request::audience().into()
    }

    fn peer(&self) -> Option<Cow<'_, str>> {
        request::peer().map(Cow::Owned)
    }

    fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        request::header(name).map(Cow::Owned)
    }

    fn arguments(&self) -> Option<Cow<'_, str>> {
        request::arguments().map(Cow::Owned)
    }

    fn meta(&self) -> Option<Cow<'_, str>> {
        request::meta().map(Cow::Owned)
    }

    fn certificate_thumbprint(&self) -> Option<Cow<'_, str>> {
        request::certificate_thumbprint().map(Cow::Owned)
    }

    fn dpop_thumbprint(&self) -> Option<Cow<'_, str>> {
        request::dpop_thumbprint().map(Cow::Owned)
    }

    fn annotations(&self, tool: &str) -> Option<sdk::ToolAnnotations> {
        let request::ToolAnnotations { read_only, destructive, idempotent, open_world } =
            request::annotations(tool)?;
        Some(sdk::ToolAnnotations { read_only, destructive, idempotent, open_world })
    }

    fn issuer(&self) -> Option<Cow<'_, str>> {
        caller::issuer().map(Cow::Owned)
    }

    fn claims(&self) -> Option<Cow<'_, str>> {
        caller::claims().map(Cow::Owned)
    }

    fn expires_at(&self) -> Option<u64> {
        caller::expires_at()
    }

    fn sha256(&self, data: &[u8]) -> sdk::Digest {
        let crypto::Digest { a, b, c, d } = crypto::sha256(data);
        let mut digest = sdk::Digest::default();
        for (bytes, word) in digest.chunks_exact_mut(8).zip([a, b, c, d]) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    async fn verify(&self, key: &str, signed: &sdk::SignedMessage<'_>) -> Result<(), sdk::VerifyError> {
        crypto::verify(key, signed.key_id, algorithm(signed.algorithm), signed.message, signed.signature)
            .map_err(|error| match error {
                crypto::VerifyError::UnknownKey => sdk::VerifyError::UnknownKey,
                crypto::VerifyError::UnknownKeyId => sdk::VerifyError::UnknownKeyId,
                crypto::VerifyError::AlgorithmMismatch => sdk::VerifyError::AlgorithmMismatch,
                crypto::VerifyError::BadSignature => sdk::VerifyError::BadSignature,
                crypto::VerifyError::Unavailable => sdk::VerifyError::Unavailable,
            })
    }

    async fn verify_password(&self, hash: &str, password: &str) -> Result<bool, sdk::PasswordError> {
        crypto::verify_password(hash, password).map_err(|error| match error {
            crypto::PasswordError::UnusableHash => sdk::PasswordError::UnusableHash,
            crypto::PasswordError::Busy(seconds) => sdk::PasswordError::Busy(seconds),
        })
    }

    fn secret(&self, name: &str) -> Option<String> {
        secrets::reveal(name).ok()
    }

    fn cached(&self, key: &[u8]) -> Option<Vec<u8>> {
        cache::get(key)
    }

    fn cache(&self, key: &[u8], value: &[u8], ttl_s: u32) {
        cache::put(key, value, ttl_s);
    }

    fn uncache(&self, key: &[u8]) {
        cache::remove(key);
    }

    async fn send(&self, request: sdk::HttpRequest) -> Result<sdk::HttpResponse, sdk::HttpError> {
        let client = |c: sdk::Client| http::Client { id: c.id, secret: c.secret };
        let outgoing = http::Outgoing {
            method: match request.method {
                sdk::Method::Get => http::Method::Get,
                sdk::Method::Post => http::Method::Post,
            },
            url: request.url,
            headers: request.headers,
            body: request.body,
            client_auth: match request.client_auth {
                sdk::ClientAuth::None => http::ClientAuth::None,
                sdk::ClientAuth::Basic(c) => http::ClientAuth::Basic(client(c)),
                sdk::ClientAuth::Post(c) => http::ClientAuth::Post(client(c)),
                sdk::ClientAuth::PrivateKeyJwt(a) => http::ClientAuth::PrivateKeyJwt(http::Assertion {
                    id: a.id,
                    key: a.key,
                    key_id: a.key_id,
                    algorithm: a.algorithm,
                    audience: a.audience,
                }),
            },
            share: request.share,
        };
        match http::send(&outgoing) {
            Ok(http::Incoming { status, content_type, retry_after, body }) => {
                Ok(sdk::HttpResponse { status, content_type, retry_after, body })
            }
            Err(error) => Err(match error {
                http::HttpError::NotGranted => sdk::HttpError::NotGranted,
                http::HttpError::InvalidRequest => sdk::HttpError::InvalidRequest,
                http::HttpError::Unreachable => sdk::HttpError::Unreachable,
                http::HttpError::TimedOut => sdk::HttpError::TimedOut,
                http::HttpError::TooLarge => sdk::HttpError::TooLarge,
                http::HttpError::Resting(seconds) => sdk::HttpError::Resting(seconds),
            }),
        }
    }
}

fn algorithm(algorithm: sdk::Algorithm) -> crypto::Algorithm {
    match algorithm {
        sdk::Algorithm::Hs256 => crypto::Algorithm::Hs256,
        sdk::Algorithm::Hs384 => crypto::Algorithm::Hs384,
        sdk::Algorithm::Hs512 => crypto::Algorithm::Hs512,
        sdk::Algorithm::Rs256 => crypto::Algorithm::Rs256,
        sdk::Algorithm::Rs384 => crypto::Algorithm::Rs384,
        sdk::Algorithm::Rs512 => crypto::Algorithm::Rs512,
        sdk::Algorithm::Ps256 => crypto::Algorithm::Ps256,
        sdk::Algorithm::Ps384 => crypto::Algorithm::Ps384,
        sdk::Algorithm::Ps512 => crypto::Algorithm::Ps512,
        sdk::Algorithm::Es256 => crypto::Algorithm::Es256,
        sdk::Algorithm::Es384 => crypto::Algorithm::Es384,
        sdk::Algorithm::EdDsa => crypto::Algorithm::EdDsa,
    }
}
