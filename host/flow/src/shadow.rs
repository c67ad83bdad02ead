//! Shadow policies (`mode = "shadow"`). They get the same questions as the live ones, in separate tasks, so that no
//! caller waits. Different answers are recorded, and change nothing.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use witgate_plugin::{Call, Credential, Decision, Principal, Verdict};

use super::credential_choice;
use super::dpop::ProvenRequest;
use super::reject::Rejection;
use super::request::Request;
use super::subject::CallSubject;
use crate::authenticate::identity::Caller;
use witgate_base::printable::clean;
use witgate_message::call::Target;
use witgate_message::credential::Credentials;
use witgate_message::method::NAMES;
use witgate_policy::generation::Generation;
use witgate_policy::{Disagreement, DisagreementOwner, Policy};
use witgate_runtime::workers;
use witgate_services::Scope;

/// The name of methods that the protocol does not have, as in metrics.
const OTHER: &str = "_OTHER";

/// Asks the shadow authenticators about the same credential.
pub(super) fn of_authentication(
    generation: &Arc<Generation>,
    proven: &ProvenRequest,
    shown: &Credentials,
    live: &Result<Arc<Caller>, Rejection>,
) {
    let request = proven.request();
    let shadows = &generation.pipeline(request.route.pipeline).shadow_authenticate;
    let Some(turn) = turn(generation, shadows) else { return };
    let caller = live.as_ref().ok();
    let live = match live {
        Ok(caller) => format!("identity {}", caller.identity().subject),
        Err(_) => "refused".to_owned(),
    };
    let with = seen_with(request, caller);
    let (generation, proven, shown) = (Arc::clone(generation), proven.clone(), shown.copy());
    workers::background().spawn(async move {
        let request = Arc::clone(proven.request());
        let pipeline = generation.pipeline(request.route.pipeline);
        let subject = CallSubject::new(proven, None);
        let scope =
            Scope::new(Arc::new(subject), false, credential_choice::traces(&shown, pipeline.is_recorded()));
        for policy in &pipeline.shadow_authenticate {
            if let Some(credential) = credential_choice::for_policy(&shown, policy) {
                let said = authentication(policy, &scope, &request.as_call(), &credential).await;
                let question =
                    ShadowQuestion { request: &request, target: None, generation: generation.number() };
                record(policy, &question, &live, &said, with.clone());
            }
        }
        drop(turn);
    });
}

async fn authentication(
    policy: &Policy,
    scope: &Scope,
    call: &Call<'_>,
    credential: &Credential<'_>,
) -> String {
    match policy.authenticate(scope, call, credential).await.map(|answered| answered.answer) {
        Ok(Verdict::Identity(identity)) => format!("identity {}", identity.subject),
        Ok(Verdict::NotMine | Verdict::Refused(_) | Verdict::Unavailable(_)) | Err(_) => "refused".to_owned(),
    }
}

/// Asks the shadow authorizers about the same target.
pub(super) fn of_authorization(
    generation: &Arc<Generation>,
    subject: &CallSubject,
    scope: &Scope,
    target: &Target,
    caller: &Arc<Caller>,
    live: &Result<(), Rejection>,
) {
    let shadows = &generation.pipeline(subject.proven.request().route.pipeline).shadow_authorize;
    let Some(turn) = turn(generation, shadows) else { return };
    let live = if live.is_ok() { "allow" } else { "deny" };
    let (generation, scope) = (Arc::clone(generation), scope.clone());
    let (request, target, caller) =
        (Arc::clone(subject.proven.request()), target.clone(), Arc::clone(caller));
    workers::background().spawn(async move {
        let call = Call {
            method: request.call.method(),
            kind: target.kind,
            target: &target.name,
            transport: request.transport,
            listing: false,
        };
        for policy in &generation.pipeline(request.route.pipeline).shadow_authorize {
            // An abstention leaves the decision to the others, so it never disagrees.
            if let Some(said) = authorization(policy, &scope, &call, &caller.as_principal()).await {
                let generation = generation.number();
                let question = ShadowQuestion { request: &request, target: Some(&target), generation };
                record(policy, &question, live, said, seen_with(&request, Some(&caller)));
            }
        }
        drop(turn);
    });
}

async fn authorization(
    policy: &Policy,
    scope: &Scope,
    call: &Call<'_>,
    principal: &Principal<'_>,
) -> Option<&'static str> {
    match policy.authorize(scope, call, principal).await.map(|answered| answered.answer) {
        Ok(Decision::Allow) => Some("allow"),
        Ok(Decision::Abstain) => None,
        Ok(Decision::Deny(_) | Decision::Unavailable(_)) | Err(_) => Some("deny"),
    }
}

/// A turn for `shadows`. None: there are no shadows, or they are busy, which is counted.
fn turn(generation: &Generation, shadows: &[Arc<Policy>]) -> Option<OwnedSemaphorePermit> {
    if shadows.is_empty() {
        return None;
    }
    let turn = generation.shadow_turn();
    if turn.is_none() {
        shadows.iter().for_each(|policy| policy.counts().shed());
    }
    turn
}

/// The source of the calls with a disagreement: a principal, or an address.
fn seen_with(request: &Request, caller: Option<&Arc<Caller>>) -> DisagreementOwner {
    match caller.filter(|caller| !caller.is_anonymous()) {
        Some(caller) => DisagreementOwner::Known(caller.principal().to_text().into()),
        None => DisagreementOwner::Unknown(
            request.peer.map_or_else(|| "nowhere".into(), |peer| network(peer).to_string().into()),
        ),
    }
}

/// The network of a caller, who may have all addresses of an IPv6 network.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V6(address) if address.to_ipv4_mapped().is_none() => {
            Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into()
        }
        other => other.to_canonical(),
    }
}

/// The question to a shadow policy.
struct ShadowQuestion<'a> {
    request: &'a Request,
    target: Option<&'a Target>,
    generation: u64,
}

/// Records a disagreement. Each kind is logged once; `plugin diff` shows the numbers.
fn record(policy: &Policy, question: &ShadowQuestion<'_>, live: &str, said: &str, with: DisagreementOwner) {
    if live == said {
        return;
    }
    let ShadowQuestion { request, target, generation } = question;
    // A question about the caller comes before the message is searched for credentials.
    let method = Some(request.call.method()).filter(|method| target.is_some() || NAMES.contains(method));
    let disagreement = Disagreement {
        upstream: Box::from(&*request.route.upstream),
        method: clean(method.unwrap_or(OTHER)).into(),
        target: target.map(|target| clean(&format!("{}{}", target.prefix(), target.name)).into()),
        live: clean(live).into(),
        shadow: clean(said).into(),
    };
    if let Some(log) = &request.route.disagreements {
        log.record(request.decision, *generation, policy.name(), &disagreement);
    }
    if policy.disagrees(&disagreement, with) {
        let Disagreement { upstream, method, target, live, shadow } = &disagreement;
        tracing::info!(
            target: "witgate::shadow",
            policy = &**policy.name(),
            upstream = &**upstream,
            method = &**method,
            called = target.as_deref(),
            live = &**live,
            shadow = &**shadow,
            "a shadow policy would have decided otherwise"
        );
    }
}
