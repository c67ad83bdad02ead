use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use secrecy::SecretString;
use witgate_plugin::{
    Algorithm, Call, Credential, Data, Host as _, Identity, Level, Principal, Scheme, SignedMessage,
    TargetKind, Transport, Wants,
};

use super::table::{MOST, MOST_OF_ONE};
use super::{VerdictMemory, VerdictQuestion};
use crate::cache::Cache;
use crate::keys::{Key, Keyring};
use crate::subject::Subject;
use crate::verdicts::KeyUse;
use crate::{PolicyHost, Scope, Services};
use witgate_base::breaker::CallerDigest;
use witgate_base::clock::Clock;
use witgate_base::digest::sha256;

/// A request, all of whose parts are the same number.
#[derive(Clone, Copy, Debug)]
struct Request {
    upstream: u8,
    others: u8,
}

const TEXTS: [&str; 3] = ["0", "1", "2"];

fn text(number: u8) -> &'static str {
    TEXTS[usize::from(number) % TEXTS.len()]
}

#[derive(Debug)]
struct TestSubject(Request, HeaderMap);

impl TestSubject {
    fn of(request: Request) -> Self {
        let value = HeaderValue::from_static(text(request.others));
        Self(request, [(HeaderName::from_static("x-tenant"), value)].into_iter().collect())
    }
}

impl Subject for TestSubject {
    fn upstream(&self) -> &str {
        text(self.0.upstream)
    }

    fn audience(&self) -> &str {
        text(self.0.upstream)
    }

    fn transport(&self) -> Transport {
        Transport::Http
    }

    fn peer(&self) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, self.0.others]))
    }

    fn headers(&self) -> &HeaderMap {
        &self.1
    }

    fn arguments(&self) -> Option<&str> {
        Some(text(self.0.others))
    }

    fn meta(&self) -> Option<&str> {
        Some(text(self.0.others))
    }

    fn certificate_thumbprint(&self, _: u64) -> Option<&str> {
        Some(text(self.0.others))
    }

    fn dpop_thumbprint(&self) -> Option<&str> {
        Some(text(self.0.others))
    }

    fn identity(&self) -> Option<&Identity> {
        None
    }

    fn principal(&self) -> Option<Principal<'_>> {
        None
    }

    fn source(&self) -> CallerDigest {
        CallerDigest::of_peer(None)
    }
}

/// The functions that a hook calls, each of which changes its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Clock,
    Upstream,
    Audience,
    Digest,
    Signature,
    Log,
    Peer,
    Header,
    Arguments,
    Meta,
    Certificate,
    Proof,
    Annotations,
    Secret,
    Cache,
}

const READS: [Read; 15] = [
    Read::Clock,
    Read::Upstream,
    Read::Audience,
    Read::Digest,
    Read::Signature,
    Read::Log,
    Read::Peer,
    Read::Header,
    Read::Arguments,
    Read::Meta,
    Read::Certificate,
    Read::Proof,
    Read::Annotations,
    Read::Secret,
    Read::Cache,
];

const HARMLESS: [Read; 6] =
    [Read::Clock, Read::Upstream, Read::Audience, Read::Digest, Read::Signature, Read::Log];

/// A hook: its verdict is everything that it has read, and it declares as much as it can.
#[derive(Clone, Debug)]
struct TestHook {
    reads: Vec<Read>,
    /// The times within which it accepts a credential, if it looks at the clock.
    valid: (u64, u64),
}

impl TestHook {
    fn ask(&self, services: &Services, scope: &Scope, question: &VerdictQuestion<'_>) -> Option<Identity> {
        let host = PolicyHost { services, scope: Some(scope) };
        let VerdictQuestion { call, credential, .. } = question;
        let mut subject = format!("{call:?} {:?} {}", credential.scheme, credential.value);
        for read in &self.reads {
            let part = match read {
                Read::Clock if !(self.valid.0..self.valid.1).contains(&host.now()) => return None,
                Read::Clock => None,
                Read::Upstream => Some(host.upstream().into_owned()),
                Read::Audience => Some(host.audience().into_owned()),
                Read::Digest => Some(format!("{:?}", host.sha256(credential.value.as_bytes()))),
                Read::Signature => Some(format!("{:?}", verify(&host, credential))),
                Read::Log => {
                    host.log(Level::Debug, "asked");
                    None
                }
                Read::Peer => host.peer().map(Into::into),
                Read::Header => host.header("x-tenant").map(Into::into),
                Read::Arguments => host.arguments().map(Into::into),
                Read::Meta => host.meta().map(Into::into),
                Read::Certificate => host.certificate_thumbprint().map(Into::into),
                Read::Proof => host.dpop_thumbprint().map(Into::into),
                Read::Annotations => Some(format!("{:?}", host.annotations("a"))),
                Read::Secret => host.secret("none"),
                Read::Cache => {
                    let seen = host.cached(b"seen").unwrap_or_default();
                    host.cache(b"seen", &[seen.as_slice(), b"."].concat(), 60);
                    Some(format!("{seen:?}"))
                }
            };
            subject = format!("{subject} {}", part.unwrap_or_default());
        }
        host.keep_verdict(if self.reads.contains(&Read::Clock) { self.valid.1 } else { u64::MAX });
        Some(Identity { subject, ..Identity::default() })
    }
}

fn verify(host: &PolicyHost<'_>, credential: &Credential<'_>) -> bool {
    let message = credential.value.as_bytes();
    let signed = SignedMessage { algorithm: Algorithm::Hs256, key_id: None, message, signature: b"none" };
    host.verify("key", &signed).now_or_never().unwrap().is_ok()
}

fn services(now: &Arc<AtomicU64>) -> Services {
    let key = Key::from_secret(&SecretString::from("k".repeat(64))).unwrap();
    let services = Services {
        cache: Some(Cache::new(1 << 20)),
        clock: Clock::Set(Arc::clone(now)),
        keys: Keyring::new([("key".to_owned(), Arc::new(key))].into()),
        ..Services::bare("test")
    };
    let data = Data { arguments: true, meta: true, peer: true, claims: true };
    let wants = Wants { headers: vec!["X-Tenant".to_owned()], data, ..Wants::default() };
    services.wants.set(wants).unwrap();
    services
}

#[derive(Clone, Debug)]
enum Step {
    Ask { request: Request, credential: u8, scheme: Scheme, target: u8, method: u8 },
    Clock(u64),
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let request = (0..2_u8, 0..2_u8).prop_map(|(upstream, others)| Request { upstream, others });
    let scheme = prop_oneof![Just(Scheme::Bearer), Just(Scheme::Dpop)];
    let ask = (request, 0..3_u8, scheme, 0..2_u8, 0..2_u8).prop_map(
        |(request, credential, scheme, target, method)| Step::Ask {
            request,
            credential,
            scheme,
            target,
            method,
        },
    );
    prop_oneof![8 => ask, 1 => (0..8_u64).prop_map(Step::Clock), 1 => (0..3_u8).prop_map(Step::Forget)]
}

fn hook() -> impl Strategy<Value = TestHook> {
    let reads = prop_oneof![
        proptest::sample::subsequence(HARMLESS.to_vec(), 0..=HARMLESS.len()),
        proptest::sample::subsequence(READS.to_vec(), 0..=READS.len()),
    ];
    (reads, 0..4_u64, 4..8_u64).prop_map(|(reads, start, end)| TestHook { reads, valid: (start, end) })
}

proptest! {
    /// A verdict that is used again is the one that the hook would give, whatever it reads and declares.
    #[test]
    fn a_kept_verdict_is_that_of_the_hook(hook in hook(), steps in prop::collection::vec(step(), 1..40)) {
        let now = Arc::new(AtomicU64::new(4));
        let (asking, keeping) = (services(&now), services(&now));
        let mut kept = 0;
        for step in steps {
            match step {
                Step::Clock(time) => now.store(time, Ordering::Relaxed),
                Step::Forget(credential) => {
                    _ = keeping.forget(&sha256(text(credential).as_bytes()));
                }
                Step::Ask { request, credential, scheme, target, method } => {
                    let subject = Arc::new(TestSubject::of(request));
                    let call = Call {
                        method: text(method),
                        kind: TargetKind::Tool,
                        target: text(target),
                        transport: Transport::Http,
                        listing: false,
                    };
                    let credential = Credential { scheme, value: text(credential) };
                    let question =
                        VerdictQuestion { subject: &*subject, call: &call, credential: &credential };
                    let scope = Scope::new(Arc::clone(&subject) as _, false, None);
                    let expected = hook.ask(&asking, &scope, &question);
                    let memory = &keeping.verdicts;
                    let time = now.load(Ordering::Relaxed);
                    let recalled = memory.recall(&question, &keeping.keys, time).now_or_never().unwrap();
                    kept += usize::from(recalled.is_some());
                    let answered = recalled.or_else(|| {
                        let basis = Arc::new(memory.basis());
                        let scope = Scope { basis: Some(Arc::clone(&basis)), ..scope.clone() };
                        let answered = hook.ask(&keeping, &scope, &question);
                        if let Some(identity) = &answered {
                            memory.keep(&question, &basis, identity);
                        }
                        answered
                    });
                    prop_assert_eq!(answered, expected);
                }
            }
        }
        if !hook.reads.iter().all(|read| HARMLESS.contains(read)) {
            prop_assert_eq!(kept, 0);
        }
    }
}

/// Asks about a credential once, with what `read` notes in the basis, and then whether the verdict was kept.
fn is_kept(
    memory: &VerdictMemory,
    keyring: &Keyring,
    value: &str,
    note: impl FnOnce(&super::VerdictBasis),
) -> bool {
    let subject = TestSubject::of(Request { upstream: 0, others: 0 });
    let call = Call {
        method: "tools/call",
        kind: TargetKind::Tool,
        target: "echo",
        transport: Transport::Http,
        listing: false,
    };
    let credential = Credential { scheme: Scheme::Bearer, value };
    let question = VerdictQuestion { subject: &subject, call: &call, credential: &credential };
    let basis = memory.basis();
    note(&basis);
    memory.keep(&question, &basis, &Identity { subject: "ada".to_owned(), ..Identity::default() });
    memory.recall(&question, keyring, 5).now_or_never().unwrap().is_some()
}

#[test]
fn only_declared_verdicts_are_kept_and_only_with_the_same_keys() {
    let services = services(&Arc::default());
    let kept = |note: fn(&super::VerdictBasis)| is_kept(&VerdictMemory::default(), &services.keys, "t", note);
    assert!(kept(|basis| basis.ends(6)));
    assert!(!kept(|_| {}));
    assert!(!kept(|basis| basis.ends(5)), "it ends now");
    assert!(!kept(|basis| [9, 5, 9].into_iter().for_each(|end| basis.ends(end))), "the earliest counts");
    assert!(!kept(|basis| _ = (basis.ends(9), basis.sees(6))), "the clock was set back");
    // The set of the key has the version 0.
    assert!(kept(|basis| _ = (basis.ends(6), basis.rests_on("key", None, 0))));
    assert!(!kept(|basis| _ = (basis.ends(6), basis.rests_on("key", None, 1))));
    assert!(!kept(|basis| _ = (basis.ends(6), basis.rests_on("other", None, 0))));
    assert!(!kept(
        |basis| _ = (basis.ends(6), (0..9).for_each(|n| basis.rests_on("key", Some(&n.to_string()), 0)))
    ));
    let used = KeyUse { name: "key".into(), key_id: None, version: 0 };
    assert!(services.keys.are_current(&[used]).now_or_never().unwrap());
}

#[test]
fn a_verdict_of_a_hook_that_ran_during_a_removal_is_not_kept() {
    let (services, memory) = (services(&Arc::default()), VerdictMemory::default());
    let note = |basis: &super::VerdictBasis| {
        basis.ends(9);
        memory.forget(&sha256(b"t"));
    };
    assert!(!is_kept(&memory, &services.keys, "t", note));
    assert!(is_kept(&memory, &services.keys, "t", |basis| basis.ends(9)));
    memory.forget(&sha256(b"t"));
    assert!(!is_kept(&memory, &services.keys, "t", |_| {}));
}

#[test]
fn a_flood_of_verdicts_stays_within_the_bounds_and_costs_only_its_own_share() {
    let (services, memory) = (services(&Arc::default()), VerdictMemory::default());
    let subject = TestSubject::of(Request { upstream: 0, others: 0 });
    let keep = |target: &str, name: &str, claims: usize| {
        let call = Call {
            method: "tools/call",
            kind: TargetKind::Tool,
            target,
            transport: Transport::Http,
            listing: false,
        };
        let credential = Credential { scheme: Scheme::Bearer, value: "t" };
        let question = VerdictQuestion { subject: &subject, call: &call, credential: &credential };
        let basis = memory.basis();
        basis.ends(u64::MAX);
        let claims = Some("c".repeat(claims));
        memory.keep(&question, &basis, &Identity { subject: name.to_owned(), claims, ..Identity::default() });
        memory.recall(&question, &services.keys, 0).now_or_never().unwrap().is_some()
    };
    assert!(keep("echo", "ada", 10));
    for n in 0..20_000 {
        assert!(keep(&n.to_string(), "flooder", 100));
    }
    let (_, size, of_one) = memory.table.lock().sizes();
    assert!(of_one <= MOST_OF_ONE && of_one > MOST_OF_ONE - 1000 && size < MOST / 4, "{size} {of_one}");
    assert!(!keep("large", "flooder", MOST_OF_ONE), "it would take the whole share");
    for n in 0..40_000 {
        assert!(keep("other", &n.to_string(), 100));
    }
    let (count, size, _) = memory.table.lock().sizes();
    assert!(size <= MOST && count > 1000, "{count} of {size} bytes");
    memory.forget(&sha256(b"t"));
    assert_eq!(memory.table.lock().sizes(), (0, 0, 0));
}
