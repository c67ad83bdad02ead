//! Proof of possession (DPoP, RFC 9449) → [`ProvenKey`]. A sender of a token with the scheme `DPoP` proves with each
//! request that they have a key. The authenticators check that the token is bound to this key, through the interface
//! `request`.

mod nonce;
mod proof;
mod replay;
mod target;

use std::sync::Arc;

use witgate_plugin::{Digest, Scheme, Transport};

use self::nonce::Nonces;
use self::proof::{ProofContent, ProofTerms, WINDOW_S};
use self::replay::{SpendResult, UsedProofs};
use self::target::ProofTarget;
use super::request::Request;
use crate::authenticate::identity::Caller;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;
use witgate_message::credential::{Credentials, Proof};
use witgate_policy::generation::Generation;

pub use proof::{ALGORITHMS, ProofFault};

/// A key that the sender has proven to have, for one request. Only [`Proofs::prove`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenKey {
    good: ProofContent,
    /// True if an enforced policy asks for the proof. Otherwise the proof is not marked as used.
    counts: bool,
}

impl ProvenKey {
    /// The key's thumbprint (RFC 7638), in base64url.
    pub fn thumbprint(&self) -> &str {
        &self.good.thumbprint
    }
}

/// The reason why a proof of possession is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProofError {
    /// The proof is invalid.
    Bad {
        /// The fault.
        fault: ProofFault,
        /// The nonce for the next proof, if the fault is its nonce.
        nonce: Option<Box<str>>,
    },
    /// The memory of used proofs is full. A proof that could be used twice is refused.
    Full {
        /// Seconds until a retry makes sense.
        retry_after: u32,
    },
}

/// A request with the key that its sender has proven to have, if a policy asks for a proof. Only [`Proofs::prove`]
/// makes one.
#[derive(Clone, Debug)]
pub struct ProvenRequest {
    request: Arc<Request>,
    key: Option<Arc<ProvenKey>>,
}

impl ProvenRequest {
    /// The request.
    pub fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// The key. None: no policy asks for a proof.
    pub fn key(&self) -> Option<&ProvenKey> {
        self.key.as_deref()
    }

    /// The same sender and key, with another request.
    pub(super) fn asking(&self, request: Arc<Request>) -> Self {
        Self { request, key: self.key.clone() }
    }
}

/// A proof that a message has used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SpentProof {
    thumbprint: String,
    id: Digest,
}

impl SpentProof {
    /// The proof of a request, if an enforced policy asks for it.
    pub(super) fn of(proven: &ProvenRequest) -> Option<Self> {
        let key = proven.key().filter(|key| key.counts)?;
        Some(Self { thumbprint: key.good.thumbprint.clone(), id: key.good.id })
    }
}

/// Checks proofs, and remembers the used ones.
#[derive(Debug, Default)]
pub struct Proofs {
    nonces: Option<Nonces>,
    used: UsedProofs,
    clock: Clock,
}

impl Proofs {
    /// With or without nonces of this server (RFC 9449, section 9).
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(nonces: bool, clock: Clock) -> Result<Self, getrandom::Error> {
        let nonces = if nonces { Some(Nonces::new()?) } else { None };
        Ok(Self { nonces, used: UsedProofs::default(), clock })
    }

    /// Checks the proof of a request, if a policy asks for one (RFC 9449, section 4.3).
    ///
    /// # Errors
    /// `Bad`, if the proof is required and missing, or invalid. If only shadow policies ask, a bad proof is no error:
    /// they find no proven key.
    pub fn prove(
        &self,
        generation: &Generation,
        request: &Arc<Request>,
        shown: &Credentials,
    ) -> Result<ProvenRequest, ProofError> {
        self.prove_for(None, generation, request, shown)
    }

    /// As [`Self::prove`], for a part of a client's message with this HTTP `method`, to which its proof is bound. None: the
    /// request is the client's own.
    pub(super) fn prove_for(
        &self,
        method: Option<&str>,
        generation: &Generation,
        request: &Arc<Request>,
        shown: &Credentials,
    ) -> Result<ProvenRequest, ProofError> {
        let method = method.unwrap_or_else(|| http_method(request));
        let key = self.key(method, generation, request, shown)?.map(Arc::new);
        Ok(ProvenRequest { request: Arc::clone(request), key })
    }

    fn key(
        &self,
        method: &str,
        generation: &Generation,
        request: &Request,
        shown: &Credentials,
    ) -> Result<Option<ProvenKey>, ProofError> {
        let pipeline = generation.pipeline(request.route.pipeline);
        let counts = pipeline.judges(Scheme::Dpop);
        if request.transport != Transport::Http || !(counts || pipeline.watches(Scheme::Dpop)) {
            return Ok(None);
        }
        match self.shown(method, request, shown) {
            Err(error) if counts => Err(error),
            Err(_) => Ok(None),
            Ok(good) => Ok(good.map(|good| ProvenKey { good, counts })),
        }
    }

    fn shown(
        &self,
        method: &str,
        request: &Request,
        shown: &Credentials,
    ) -> Result<Option<ProofContent>, ProofError> {
        match (shown.of(Scheme::Dpop), shown.proof()) {
            (None, Proof::None) => Ok(None),
            (None, _) if shown.of(Scheme::Bearer).is_none() => Ok(None),
            (None, _) => Err(refused(ProofFault::BesideBearer)),
            (Some(_), Proof::None) => Err(refused(ProofFault::Missing)),
            (Some(_), Proof::Several) => Err(refused(ProofFault::Several)),
            (Some(token), Proof::One(proof)) => self.check(method, (request, token), proof).map(Some),
        }
    }

    fn check(
        &self,
        method: &str,
        (request, token): (&Request, &str),
        proof: &str,
    ) -> Result<ProofContent, ProofError> {
        let now = self.clock.now();
        let target = ProofTarget::of(&request.route.resource).ok_or(refused(ProofFault::Url))?;
        let expected = ProofTerms { method, target, token, now };
        let good = proof::check(proof, &expected).map_err(refused)?;
        match &self.nonces {
            Some(nonces) if !good.nonce.as_deref().is_some_and(|nonce| nonces.is_good(nonce, now)) => {
                let nonce = Some(nonces.current(now).into());
                Err(ProofError::Bad { fault: ProofFault::Nonce, nonce })
            }
            _ => Ok(good),
        }
    }

    /// Marks the request's proof as used. This happens after authentication, so that unknown senders cannot fill the
    /// memory.
    ///
    /// # Errors
    /// `Bad`, if the proof was used before; `Full`, if the memory is full: a proof that could be used twice is
    /// refused.
    pub fn spend(&self, proven: &ProvenRequest, caller: &Caller) -> Result<(), ProofError> {
        let Some(key) = proven.key().filter(|key| key.counts) else { return Ok(()) };
        let until = key.good.issued_at + u64::from(WINDOW_S);
        match self.used.spend(key.thumbprint(), owner(caller), key.good.id, until, self.clock.now()) {
            SpendResult::First => Ok(()),
            SpendResult::Again => Err(refused(ProofFault::Replayed)),
            SpendResult::Full { retry_after } => Err(ProofError::Full { retry_after }),
        }
    }

    /// The nonce for the client's next proof, if the used nonce expires soon.
    pub fn next_nonce(&self, proven: &ProvenRequest) -> Option<Box<str>> {
        let (nonces, key) = (self.nonces.as_ref()?, proven.key().filter(|key| key.counts)?);
        let current = nonces.current(self.clock.now());
        (key.good.nonce.as_deref() != Some(&*current)).then(|| current.into())
    }
}

/// The owner of an entry in the table of used proofs. It is the caller and not the key, because anyone can make many
/// keys.
fn owner(caller: &Caller) -> Digest {
    let identity = caller.identity();
    let issuer = identity.issuer.as_deref().unwrap_or_default();
    let parts = [caller.proven_by().as_ref(), issuer, identity.subject.as_str()];
    let bytes = parts.iter().flat_map(|part| [&part.len().to_be_bytes(), part.as_bytes()].concat());
    sha256(&bytes.collect::<Vec<_>>())
}

/// Checks one proof for a POST to `url` with `token` at `now`, as [`Proofs::prove`] does, and returns the thumbprint
/// of its key.
///
/// # Errors
/// With the fault of the proof.
pub fn examine(proof: &str, url: &str, token: &str, now: u64) -> Result<String, ProofFault> {
    let target = ProofTarget::of(url).ok_or(ProofFault::Url)?;
    let good = proof::check(proof, &ProofTerms { method: "POST", target, token, now })?;
    Ok(good.thumbprint)
}

/// The HTTP method. A call for a GET or DELETE has no message.
fn http_method(request: &Request) -> &str {
    if request.call.body().is_empty() { request.call.method() } else { "POST" }
}

fn refused(fault: ProofFault) -> ProofError {
    ProofError::Bad { fault, nonce: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{ProofContent, ProofError, Proofs, ProvenKey, ProvenRequest};
    use crate::authenticate::identity::caller;
    use crate::decision::DecisionId;
    use crate::request::{Request, Route};
    use witgate_base::clock::Clock;
    use witgate_message::call::Call;
    use witgate_message::era::Era;

    /// A request with a proof that was issued at `issued_at`, with this nonce.
    fn proven(issued_at: u64, nonce: Option<String>) -> ProvenRequest {
        let good = ProofContent { thumbprint: "key".to_owned(), issued_at, nonce, ..ProofContent::default() };
        let request = Request {
            call: Call::bodiless("GET"),
            decision: DecisionId::default(),
            era: Era::Stateful,
            headers: http::HeaderMap::new(),
            peer: None,
            certificate: None,
            round: None,
            hooks: Default::default(),
            definitions: Default::default(),
            transport: witgate_plugin::Transport::Http,
            route: Arc::new(Route {
                upstream: "up".into(),
                resource: "https://a/mcp".into(),
                pipeline: 0,
                extensions: Vec::new(),
                advertise_auth: false,
                disagreements: None,
            }),
        };
        let key = ProvenKey { good, counts: true };
        ProvenRequest { request: Arc::new(request), key: Some(Arc::new(key)) }
    }

    #[test]
    fn a_proof_is_remembered_as_long_as_it_is_valid() {
        let now = Arc::new(AtomicU64::new(1000));
        let proofs = Proofs::new(false, Clock::Set(Arc::clone(&now))).unwrap();
        // The time is in the future, within the limit. The proof is valid until 600 seconds from now.
        assert_eq!(proofs.spend(&proven(1300, None), &caller("ada")), Ok(()));
        now.store(1600, Ordering::Relaxed);
        assert!(matches!(proofs.spend(&proven(1300, None), &caller("ada")), Err(ProofError::Bad { .. })));
    }

    #[test]
    fn messages_that_one_message_has_become_use_its_proof_once() {
        let proofs = Proofs::new(false, Clock::Set(Arc::new(AtomicU64::new(1000)))).unwrap();
        let (siblings, caller) = (crate::siblings::Siblings::default(), caller("ada"));
        assert_eq!(siblings.spend(&proofs, &proven(1000, None), &caller), Ok(()));
        assert_eq!(siblings.spend(&proofs, &proven(1000, None), &caller), Ok(()));
        let others = crate::siblings::Siblings::default();
        assert!(others.spend(&proofs, &proven(1000, None), &caller).is_err(), "another message");
    }

    #[test]
    fn the_next_nonce_is_issued_before_the_last_one_expires() {
        let now = Arc::new(AtomicU64::new(1500));
        let proofs = Proofs::new(true, Clock::Set(Arc::clone(&now))).unwrap();
        let first = proofs.nonces.as_ref().unwrap().current(1500);
        assert_eq!(proofs.next_nonce(&proven(1500, Some(first.clone()))), None, "it is the current one");
        now.store(1650, Ordering::Relaxed);
        let next = proofs.next_nonce(&proven(1650, Some(first.clone()))).unwrap();
        let nonces = proofs.nonces.as_ref().unwrap();
        assert!(nonces.is_good(&first, 1650) && nonces.is_good(&next, 1650 + 150));
        let none = Proofs::new(false, Clock::Set(now)).unwrap();
        assert_eq!(none.next_nonce(&proven(1650, Some(first))), None, "there are none");
    }
}
