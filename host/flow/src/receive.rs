//! Parse → credential: everything that can be read from a message without knowing the caller.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use witgate_message::call::Call;
use witgate_message::certificate::ClientCertificate;
use witgate_message::credential::Credentials;
use witgate_message::era::Era;
use witgate_message::fault::MessageFault;
use witgate_message::headers::{agree, credentials};
use witgate_plugin::{Scheme, Transport};
use witgate_policy::generation::Generation;

use crate::credential_choice;
use crate::decision::DecisionId;
use crate::in_flight::InFlight;
use crate::known_sender::KnownSender;
use crate::lockout::LockoutTable;
use crate::parsing;
use crate::reject::{RejectedMessage, Rejection};
use crate::request::{Request, Route};

/// A received message.
pub struct Arrival {
    /// The transport of the message.
    pub transport: Transport,
    /// The address of the sender. None over stdio.
    pub peer: Option<IpAddr>,
    /// Remembers whether the sender has shown a good credential.
    pub known: KnownSender,
    /// The flag that is set when the upstream has the message.
    pub under_way: InFlight,
    /// The client certificate of the connection.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// The headers. Empty over stdio.
    pub headers: HeaderMap,
    /// The message. Empty for a GET or DELETE.
    pub body: Bytes,
    /// The credentials in the process environment, over stdio. Over HTTP they are in the headers.
    pub shown: Option<Credentials>,
    /// The session of the process, over stdio. Over HTTP it is in the headers.
    pub session: Option<Box<str>>,
}

pub(crate) type ReceivedRequest = (Arc<Request>, Credentials, Option<Box<str>>);

/// Reads one message. With a `lockout`, because the sender's network is paused, an unknown credential is refused before
/// the message is read.
pub(crate) async fn receive(
    arrival: Arrival,
    decision: DecisionId,
    (generation, lockout): (&Generation, Option<&LockoutTable>),
    route: &Arc<Route>,
) -> Result<ReceivedRequest, RejectedMessage> {
    let Arrival { transport, peer, certificate, mut headers, body, mut shown, session, .. } = arrival;
    if let Some(lockout) = lockout.filter(|_| transport == Transport::Http) {
        let sender = (peer, certificate.as_deref());
        shown = Some(unpaused(&mut headers, sender, (generation, lockout), route)?);
    }
    let is_shown = shown.is_some();
    let declared = credential_choice::arguments(generation.pipeline(route.pipeline));
    let (mut call, in_arguments) = parsing::parse(body, peer, declared).await?;
    if let Some(in_arguments) = &in_arguments {
        in_arguments.remove_headers(&mut headers);
    }
    let round = call
        .cut_input()
        .map_err(|fault| RejectedMessage { id: call.id().map(Box::from), ..Rejection::from(fault).into() })?;
    let examined = match transport {
        Transport::Http => examine(&call, &mut headers, shown, generation, route),
        Transport::Stdio => examine_stdio(&call, shown.unwrap_or_default(), session),
    };
    let joined = examined.and_then(|(era, mut shown, session)| {
        in_arguments.map_or(Ok(()), |in_arguments| in_arguments.add_to(&mut shown))?;
        Ok((era, shown, session))
    });
    let (era, mut shown, session) =
        joined.map_err(|rejection| RejectedMessage { id: call.id().map(Box::from), ..rejection.into() })?;
    if !is_shown {
        show_certificate(&mut shown, certificate.as_deref(), generation, route);
    }
    let route = Arc::clone(route);
    let (hooks, definitions) = (OnceLock::new(), OnceLock::new());
    let request = Request {
        call,
        decision,
        era,
        headers,
        peer,
        certificate,
        transport,
        route,
        round,
        hooks,
        definitions,
    };
    Ok((Arc::new(request), shown, session))
}

/// Refuses an unknown credential of a sender whose network is paused. The message is not read.
pub(crate) fn check_pause(
    arrival: &Arrival,
    (generation, lockout): (&Generation, &LockoutTable),
    route: &Route,
) -> Result<(), Rejection> {
    if arrival.transport != Transport::Http {
        return Ok(());
    }
    let sender = (arrival.peer, arrival.certificate.as_deref());
    unpaused(&mut arrival.headers.clone(), sender, (generation, lockout), route).map(drop)
}

/// Takes the credentials of a sender over HTTP out of the headers, unless they are paused.
fn unpaused(
    headers: &mut HeaderMap,
    (peer, certificate): (Option<IpAddr>, Option<&ClientCertificate>),
    (generation, lockout): (&Generation, &LockoutTable),
    route: &Route,
) -> Result<Credentials, Rejection> {
    let mut taken = credentials_in(headers, generation, route)?;
    show_certificate(&mut taken, certificate, generation, route);
    lockout.check(generation, route, (Transport::Http, peer), &taken)?;
    Ok(taken)
}

/// A certificate that no policy judges is no credential. It only protects the transport.
fn show_certificate(
    shown: &mut Credentials,
    certificate: Option<&ClientCertificate>,
    generation: &Generation,
    route: &Route,
) {
    let Some(certificate) = certificate else { return };
    let pipeline = generation.pipeline(route.pipeline);
    if pipeline.judges(Scheme::Certificate) {
        shown.add(Scheme::Certificate, None, certificate.as_credential());
    } else if pipeline.watches(Scheme::Certificate) {
        shown.add_watched(Scheme::Certificate, certificate.as_credential());
    }
}

/// Takes the credentials out of the headers.
fn credentials_in(
    headers: &mut HeaderMap,
    generation: &Generation,
    route: &Route,
) -> Result<Credentials, Rejection> {
    let pipeline = generation.pipeline(route.pipeline);
    let shown = credentials::take(headers, pipeline.credential_headers())?;
    match pipeline.header_groups().find_map(|headers| shown.conflict(headers)) {
        None => Ok(shown),
        Some([one, other]) => {
            let message =
                format!("the headers {one} and {other} hold different credentials; send one of them");
            Err(MessageFault::BadCredential(message).into())
        }
    }
}

/// Compares the headers with the body, and takes the credentials out of them, unless they are `shown` already.
fn examine(
    call: &Call,
    headers: &mut HeaderMap,
    shown: Option<Credentials>,
    generation: &Generation,
    route: &Route,
) -> Result<(Era, Credentials, Option<Box<str>>), Rejection> {
    let era = agree::check(call, headers)?;
    let shown = match shown {
        Some(shown) => shown,
        None => credentials_in(headers, generation, route)?,
    };
    let session = match era {
        Era::Stateful => agree::session(headers)?.map(Box::from),
        Era::Stateless => None,
    };
    Ok((era, shown, session))
}

/// Over stdio there are no headers, and the process has one session.
fn examine_stdio(
    call: &Call,
    shown: Credentials,
    session: Option<Box<str>>,
) -> Result<(Era, Credentials, Option<Box<str>>), Rejection> {
    let era = agree::check_without_headers(call)?;
    Ok((era, shown, session.filter(|_| era == Era::Stateful)))
}

/// As [`receive`], for a GET or DELETE.
pub(crate) fn receive_bodiless(
    method: &'static str,
    arrival: Arrival,
    decision: DecisionId,
    generation: &Generation,
    route: &Arc<Route>,
) -> Result<ReceivedRequest, Rejection> {
    let Arrival { transport, peer, certificate, mut headers, shown, session, .. } = arrival;
    let (mut shown, session) = match transport {
        Transport::Stdio => (shown.unwrap_or_default(), session),
        Transport::Http => {
            agree::check_bodiless(&headers)?;
            let shown = credentials_in(&mut headers, generation, route)?;
            (shown, agree::session(&headers)?.map(Box::from))
        }
    };
    show_certificate(&mut shown, certificate.as_deref(), generation, route);
    let (call, era, route) = (Call::bodiless(method), Era::Stateful, Arc::clone(route));
    let (round, hooks, definitions) = (None, OnceLock::new(), OnceLock::new());
    let request = Request {
        call,
        decision,
        era,
        headers,
        peer,
        certificate,
        transport,
        route,
        round,
        hooks,
        definitions,
    };
    Ok((Arc::new(request), shown, session))
}
