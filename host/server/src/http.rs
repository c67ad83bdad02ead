//! Streamable HTTP towards the clients (MCP 2025-03-26 to 2026-07-28, "Streamable HTTP").

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connections::table::{ConnectionLimits, Connections};
use super::connections::{self, ConnectionEnds, Listener, unread_body};
use super::proxies::TrustedProxies;
use super::refusals::{EarlyCause, EarlyRefusals};
use super::tls::TlsState;
pub use body::Body;
pub use connect::LocalPages;
use connect::{ConnectPages, FlowsByPlace, PageAddress};
use cors::Readers;
use held_refusals::HeldRefusals;
use listener_table::ListenerTable;
pub use listener_table::names;
use metadata::Metadata;
use paths::at;
use receive::receive;
use responses::{EVENTS, JSON, event_stream, json, not_allowed, not_found, plain, render, with_status};
pub use sender::Sender;
use sender::arrival;
pub use served_endpoint::ServedEndpoint;
use served_flow::ServedFlow;
pub use served_upstream::ServedUpstream;
pub use site::Site;
use witgate_base::peer::Peer;
use witgate_base::signing::PublishedKeys;
use witgate_config::{self as config, Denials};
use witgate_credentials::connect::ConnectDesk;
use witgate_flow::body::Inflow;
use witgate_flow::port::{AnswerBody, Upstream};
use witgate_flow::reject::{RejectedMessage, Rejection};
use witgate_flow::{Flow, Reply};
use witgate_message::fault::MessageFault;
use witgate_message::headers::{DPOP_NONCE, SESSION_ID, credentials, media};
use witgate_policy::generation::{Generation, Generations};
use witgate_runtime::memory::{RequestMemory, Reservation};
use witgate_runtime::metrics::Metrics;
use witgate_runtime::workers::Workers;

mod body;
mod connect;
mod cors;
mod held_refusals;
mod keep_alive;
mod listener_table;
mod metadata;
mod paths;
mod receive;
mod responses;
mod sender;
mod served_endpoint;
mod served_flow;
mod served_upstream;
mod site;
#[cfg(test)]
mod tests;

/// The public listener.
pub struct Gateway<U> {
    table: ArcSwap<ListenerTable<Endpoint<U>>>,
    /// Held while the table and the generation are replaced.
    changing: Mutex<()>,
    held_refusals: Arc<HeldRefusals>,
    /// The key set that is published.
    keys: Arc<PublishedKeys>,
    /// The time that running calls have at the stop.
    grace: Mutex<Duration>,
    site: Option<Arc<dyn Site>>,
    generations: Arc<Generations>,
    connections: Arc<Connections>,
    workers: Arc<Workers>,
    cut: CancellationToken,
    /// The pages where callers connect accounts. None: there are none.
    connect: Option<ConnectPages>,
}

/// The endpoint of one upstream, or of several.
struct Endpoint<U> {
    /// The path, without a last slash.
    path: String,
    flow: ServedFlow<U>,
    /// The URL of the upstream's RFC 9728 metadata, if there is any.
    metadata: Option<String>,
    denials: Denials,
    held_refusals: Arc<HeldRefusals>,
    /// The maximum size of a message to the upstream, in bytes.
    max_request: usize,
    /// The place of the pipeline of the upstream, or of the first one.
    place: usize,
    generations: Arc<Generations>,
}

/// The endpoint for a message, and the generation that decides about the message.
type ServingEndpoint<U> = (Arc<Endpoint<U>>, Arc<Generation>);

impl<U: Upstream + 'static> Gateway<U> {
    /// A gateway with one flow per upstream of `config`, in the same order.
    pub fn new(
        config: &config::Config,
        flows: impl IntoIterator<Item = Flow<U>>,
        generations: Arc<Generations>,
    ) -> Self {
        let served = config.upstreams.iter().zip(flows);
        let served: Vec<_> =
            served.map(|(upstream, flow)| ServedUpstream::new(upstream, Arc::new(flow)).into()).collect();
        Self::serving_all(&config.server, &served, generations, Arc::default())
    }

    /// A gateway for these endpoints, with these keys in the published key set.
    pub fn serving_all(
        server: &config::Server,
        served: &[ServedEndpoint<U>],
        generations: Arc<Generations>,
        keys: Arc<PublishedKeys>,
    ) -> Self {
        let memory = RequestMemory::new(server.request_memory);
        let proxies = TrustedProxies::of(server);
        let connections = Connections::behind(proxies, limits(server), memory, Some(&generations));
        let held_refusals = Arc::default();
        let table = table(server, served, (&generations, &held_refusals, &keys));
        Self {
            table: ArcSwap::from_pointee(table),
            changing: Mutex::default(),
            held_refusals,
            keys,
            grace: Mutex::new(server.shutdown_grace),
            site: None,
            generations,
            connections,
            workers: Arc::default(),
            cut: CancellationToken::new(),
            connect: None,
        }
    }

    /// The same, with the pages for the links of `desk`.
    pub fn with_connect(self, desk: Arc<ConnectDesk>) -> Self {
        let pages = ConnectPages::new(desk, self.refusals());
        Self { connect: Some(pages), ..self }
    }

    /// The same, which stops waiting for running calls when `cut` is cancelled.
    pub fn with_cut(self, cut: CancellationToken) -> Self {
        Self { cut, ..self }
    }

    /// The same, with connections that are served by these workers instead of the current runtime.
    pub fn with_workers(self, workers: Workers) -> Self {
        Self { workers: Arc::new(workers), ..self }
    }

    /// Uses these settings, and serves other endpoints from now on: those that `flip` returns, after it has made the
    /// generation live that has the pipelines of their upstreams.
    pub fn replace<T>(
        &self,
        server: &config::Server,
        flip: impl FnOnce() -> (T, Vec<ServedEndpoint<U>>),
    ) -> T {
        let changing = self.changing.lock();
        let (flipped, served) = flip();
        let table = table(server, &served, (&self.generations, &self.held_refusals, &self.keys));
        self.table.store(Arc::new(table));
        drop(changing);
        self.connections.set_limits(limits(server));
        self.connections.set_proxies(TrustedProxies::of(server));
        self.connections.memory().resize(server.request_memory);
        *self.grace.lock() = server.shutdown_grace;
        flipped
    }

    /// The endpoint for a message to `endpoint` that is decided now: the same one, or that which has replaced it. None:
    /// there is none any more.
    fn serving(&self, endpoint: &Arc<Endpoint<U>>) -> Option<ServingEndpoint<U>> {
        let mut endpoint = Arc::clone(endpoint);
        loop {
            if let Some(generation) = endpoint.flow.serving() {
                return Some((endpoint, generation));
            }
            // The table is replaced right after the generation.
            drop(self.changing.lock());
            let next = self.table.load().endpoints.get(&endpoint.path).cloned()?;
            if Arc::ptr_eq(&next, &endpoint) {
                return None;
            }
            endpoint = next;
        }
    }

    /// The same, with pages and documents beside the endpoints.
    pub fn with_site(self, site: Option<Arc<dyn Site>>) -> Self {
        Self { site, ..self }
    }

    /// Registers the counters of connections and their memory with `metrics`.
    pub fn register(&self, metrics: &Metrics) {
        self.connections.register(metrics);
    }

    /// The refusals before there is a message, for the audit.
    pub fn refusals(&self) -> Arc<EarlyRefusals> {
        Arc::clone(self.connections.refusals())
    }

    /// Serves until `stop`. Then lets running calls finish within `grace`, and shuts down the upstreams.
    pub async fn serve(
        self,
        socket: TcpListener,
        tls: Option<Arc<TlsState>>,
        stop: CancellationToken,
        grace: Duration,
    ) {
        *self.grace.lock() = grace;
        let (_sender, moves) = mpsc::channel(1);
        Arc::new(self).serve_moving((socket, moves), tls, stop).await;
    }

    /// Serves until `stop`, at `socket` and then at those of `moves`. Then lets running calls finish within the time of
    /// the configuration, and shuts down the upstreams.
    pub async fn serve_moving(
        self: Arc<Self>,
        (socket, moves): (TcpListener, mpsc::Receiver<TcpListener>),
        tls: Option<Arc<TlsState>>,
        stop: CancellationToken,
    ) {
        let connections = Arc::clone(&self.connections);
        let gateway = self;
        let respond = {
            let gateway = Arc::clone(&gateway);
            move |request: Request<hyper::body::Incoming>, ends: ConnectionEnds| {
                let gateway = Arc::clone(&gateway);
                async move { gateway.respond(request.map(Inflow::Wire), ends.into()).await }
            }
        };
        let workers = Arc::clone(&gateway.workers);
        let cut = gateway.cut.clone();
        let listener = Listener { socket, tls, connections, workers, cut };
        connections::serve_moving(listener, moves, stop, || *gateway.grace.lock(), respond).await;
        gateway.shut_down().await;
    }

    /// Shuts down the upstreams.
    pub async fn shut_down(&self) {
        let table = self.table.load_full();
        let flows = table.endpoints.values().filter_map(|endpoint| endpoint.flow.alone());
        join_all(flows.map(|flow| flow.upstream().shut_down())).await;
    }

    fn respond(
        &self,
        request: Request<Inflow>,
        sender: Sender,
    ) -> impl Future<Output = Response<Body>> + Send {
        let endpoint = at(&self.table.load().endpoints, request.uri().path()).cloned();
        self.respond_as(endpoint, request, sender)
    }

    /// Answers a request in an embedding program that has its own path for the endpoint `path`. Requests for the
    /// documents are answered from the documents; all other requests are for the endpoint.
    pub fn respond_within(
        &self,
        path: &str,
        request: Request<Inflow>,
        sender: Sender,
    ) -> impl Future<Output = Response<Body>> + Send + use<'_, U> {
        let for_document = request.uri().path().starts_with("/.well-known/");
        let endpoint = self.table.load().endpoints.get(path).filter(|_| !for_document).cloned();
        self.respond_as(endpoint, request, sender)
    }

    /// Answers a request. Every answer names the origins whose pages may read it, even a refusal: a user can fix only
    /// an error that their page can read.
    async fn respond_as(
        &self,
        endpoint: Option<Arc<Endpoint<U>>>,
        request: Request<Inflow>,
        sender: Sender,
    ) -> Response<Body> {
        let path = request.uri().path();
        let site = self.site.as_deref().filter(|site| endpoint.is_none() && site.has(path));
        let page = match (&endpoint, site) {
            (None, None) => self.page_at(request.uri()),
            _ => None,
        };
        let readers = match (&endpoint, site) {
            (None, Some(site)) if site.is_for_programs(path) => Readers::Anybody,
            // A page that reads the forms of another could send them.
            (None, Some(_)) => Readers::Nobody,
            (None, None) if page.is_some() => Readers::Nobody,
            (None, None) if self.table.load().metadata.has(path) => Readers::Anybody,
            _ => Readers::of(request.headers(), self.table.load().hosts.names()),
        };
        let (parts, mut body) = request.into_parts();
        let connection = sender.connection.clone();
        let mut response = match (&endpoint, site, page) {
            (Some(endpoint), _, _) => self.respond_at(endpoint, parts, &mut body, sender).await,
            // In a box, because it is rare.
            (None, Some(site), _) => Box::pin(self.respond_by_site(site, parts, &mut body, sender)).await,
            (None, None, Some(page)) => Box::pin(self.respond_with(page, parts, &mut body, sender)).await,
            (None, None, None) => self.elsewhere(&parts, sender),
        };
        unread_body::discard(body, connection.as_ref());
        readers.mark(&mut response);
        response
    }

    /// The paths of the documents.
    pub fn documents(&self) -> Vec<String> {
        self.table.load().metadata.paths().map(str::to_owned).collect()
    }

    async fn respond_at(
        &self,
        endpoint: &Arc<Endpoint<U>>,
        parts: Parts,
        body: &mut Inflow,
        sender: Sender,
    ) -> Response<Body> {
        let result = match self.check_sender(&parts, sender) {
            Ok(_) if cors::is_preflight(&parts) => Ok(self.preflight(&parts)),
            Ok(sender) => {
                let held = self.hold(&sender);
                endpoint.dispatch(self, parts, body, (sender, held)).await
            }
            Err((peer, rejection)) => Err(endpoint.flow.refuse_unread(rejection, peer)),
        };
        match result {
            Ok(response) => response,
            Err(rejected) => {
                Box::pin(endpoint.held_refusals.hold(&rejected.rejection)).await;
                endpoint.render(&rejected)
            }
        }
    }

    /// A page where callers connect accounts. None: there is none for this credential.
    fn page_at(&self, uri: &::http::Uri) -> Option<(ConnectPages, PageAddress)> {
        let pages = self.connect.as_ref()?;
        let address = PageAddress::of(uri.path(), uri.query())?;
        self.flow_for(address.credential()).map(|_| (pages.clone(), address))
    }

    async fn respond_with(
        &self,
        (pages, address): (ConnectPages, PageAddress),
        parts: Parts,
        body: &mut Inflow,
        sender: Sender,
    ) -> Response<Body> {
        let sender = match self.admitted_sender(&parts, sender) {
            Ok(sender) => sender,
            Err((peer, rejection)) => return self.denied_elsewhere(peer, rejection),
        };
        if let Err(fault) = self.check_host(&parts, &sender) {
            return plain(fault.into());
        }
        let held = self.hold(&sender);
        pages.respond(self, address, (parts, body), (sender, held)).await
    }

    /// Opens an account in the memory for requests, for one request.
    fn hold(&self, sender: &Sender) -> Reservation<Peer> {
        self.connections.memory().hold(sender.peer.map(Into::into))
    }

    /// Checks the sender and the URL. Behind a trusted proxy, the sender is the client that the proxy names.
    ///
    /// # Errors
    /// With the address of the sender.
    fn check_sender(&self, parts: &Parts, sender: Sender) -> Result<Sender, (Option<IpAddr>, Rejection)> {
        let sender = self.admitted_sender(parts, sender)?;
        match self.check_head(parts, &sender) {
            Ok(()) => Ok(sender),
            Err(rejection) => Err((sender.peer, rejection)),
        }
    }

    /// Checks `Host` and `Origin`, and that the URL contains no secret.
    fn check_head(&self, parts: &Parts, sender: &Sender) -> Result<(), Rejection> {
        self.check_host(parts, sender)?;
        self.table.load().hosts.names().check_origin(&parts.headers)?;
        if let Some(query) = parts.uri.query() {
            credentials::none_in_query(Some(query), self.generations.live().credential_headers())?;
        }
        Ok(())
    }

    /// The sender, unless their address is denied. Behind a trusted proxy, it is the client that the proxy names.
    ///
    /// # Errors
    /// As [`Self::check_sender`].
    fn admitted_sender(&self, parts: &Parts, sender: Sender) -> Result<Sender, (Option<IpAddr>, Rejection)> {
        let proxy = sender.peer;
        let sender = self.behind_proxies(parts, sender).map_err(|unclear| (proxy, unclear))?;
        match sender.peer {
            Some(peer) if self.generations.deny_peer(peer) => Err((Some(peer), Rejection::DeniedPeer)),
            _ => Ok(sender),
        }
    }

    fn behind_proxies(&self, parts: &Parts, sender: Sender) -> Result<Sender, Rejection> {
        // An embedding program itself knows the proxies in front of it.
        let (Some(_), Some(peer)) = (&sender.connection, sender.peer) else { return Ok(sender) };
        let client = self.connections.proxies().client(peer, &parts.headers);
        let client = client.map_err(|unclear| MessageFault::InvalidRequest(unclear.to_string()))?;
        Ok(Sender { peer: Some(client), ..sender })
    }

    fn check_host(&self, parts: &Parts, sender: &Sender) -> Result<(), MessageFault> {
        self.table.load().hosts.check(&parts.uri, &parts.headers, sender.local, sender.peer)
    }

    fn preflight(&self, parts: &Parts) -> Response<Body> {
        cors::preflight(&parts.headers, self.generations.live().headers_read())
    }

    /// Answers a request at a path without an endpoint: with a document, or with 404.
    fn elsewhere(&self, parts: &Parts, sender: Sender) -> Response<Body> {
        let sender = match self.admitted_sender(parts, sender) {
            Ok(sender) => sender,
            Err((peer, rejection)) => return self.denied_elsewhere(peer, rejection),
        };
        if let Err(fault) = self.check_host(parts, &sender) {
            return plain(fault.into());
        }
        // This includes paths without a document: a page may learn that there is none.
        if cors::is_preflight(parts) {
            return self.preflight(parts);
        }
        let document = self.table.load().metadata.document(parts.uri.path(), &self.generations.live());
        match (document, &parts.method) {
            (Some(document), &Method::GET) => self::metadata::response(document),
            (Some(_), _) => not_allowed("GET"),
            (None, _) => self.unknown_path(&sender),
        }
    }

    /// Refuses a request at a path without an endpoint.
    fn denied_elsewhere(&self, peer: Option<IpAddr>, rejection: Rejection) -> Response<Body> {
        let decision = match (peer, &rejection) {
            (Some(peer), Rejection::DeniedPeer) => {
                Some(self.connections.refusals().note(EarlyCause::DeniedPeer, peer))
            }
            _ => None,
        };
        let mut response = plain(rejection);
        response.headers_mut().extend(decision.map(|decision| decision.header()));
        response
    }

    /// Answers a request at a path where there is nothing.
    fn unknown_path(&self, sender: &Sender) -> Response<Body> {
        let mut response = not_found();
        if let Some(client) = sender.peer {
            let decision = self.connections.refusals().note(EarlyCause::UnknownPath, client);
            response.headers_mut().extend([decision.header()]);
        }
        response
    }
}

/// The table of these endpoints.
fn table<U: Upstream + 'static>(
    server: &config::Server,
    served: &[ServedEndpoint<U>],
    (generations, held_refusals, keys): (&Arc<Generations>, &Arc<HeldRefusals>, &Arc<PublishedKeys>),
) -> ListenerTable<Endpoint<U>> {
    let metadata = Metadata::new(served, &server.authorization_servers).with_keys(Arc::clone(keys));
    ListenerTable::new(server, served, metadata, |endpoint, metadata| Endpoint {
        path: endpoint.path.clone(),
        flow: endpoint.flow.clone(),
        metadata: metadata.url(&endpoint.resource).map(str::to_owned),
        denials: endpoint.denials,
        held_refusals: Arc::clone(held_refusals),
        max_request: server.max_request,
        place: endpoint.places.first().copied().unwrap_or_default(),
        generations: Arc::clone(generations),
    })
}

/// The limits of connections.
fn limits(server: &config::Server) -> ConnectionLimits {
    ConnectionLimits { all: server.max_connections, of_one: server.connections_of_one() }
}

impl<U: Upstream + 'static> Endpoint<U> {
    async fn dispatch(
        self: &Arc<Self>,
        gateway: &Gateway<U>,
        parts: Parts,
        body: &mut Inflow,
        (sender, held): (Sender, Reservation<Peer>),
    ) -> Result<Response<Body>, RejectedMessage> {
        match parts.method {
            Method::POST => self.post(gateway, parts.headers, body, (sender, held)).await,
            Method::GET => match gateway.serving(self) {
                Some((endpoint, generation)) => endpoint.get(generation, parts.headers, sender).await,
                None => Ok(not_found()),
            },
            Method::DELETE => match gateway.serving(self) {
                Some((endpoint, generation)) => endpoint.delete(generation, parts.headers, sender).await,
                None => Ok(not_found()),
            },
            _ => {
                let rejected = self.flow.refuse_unread(MessageFault::MethodNotAllowed.into(), sender.peer);
                let mut response = self.render(&rejected);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
                Ok(response)
            }
        }
    }

    async fn post(
        self: &Arc<Self>,
        gateway: &Gateway<U>,
        headers: HeaderMap,
        body: &mut Inflow,
        (sender, mut held): (Sender, Reservation<Peer>),
    ) -> Result<Response<Body>, RejectedMessage> {
        let peer = sender.peer;
        let body = match receive(&headers, body, self.max_request, &mut held).await {
            Ok(body) => body,
            Err(rejection) => return Err(self.flow.refuse_unread(rejection, peer)),
        };
        let takes_events = media::accepts_events(&headers).is_ok();
        let arrival = arrival(headers, body, sender);
        let under_way = takes_events.then(|| arrival.under_way.clone());
        // Only now, because a client may take its time for the body.
        let Some((endpoint, generation)) = gateway.serving(self) else { return Ok(not_found()) };
        // In a box from the start. If the future were first held elsewhere, it would take its size once more.
        let work = Box::pin(async move {
            match endpoint.flow.handle(generation, arrival).await {
                // The memory of the request stays reserved while its stream is answered.
                Ok(reply) => answer(reply).map(|body| body.holding(held)),
                Err(rejected) => {
                    drop(held);
                    Box::pin(endpoint.held_refusals.hold(&rejected.rejection)).await;
                    endpoint.render(&rejected)
                }
            }
        });
        Ok(keep_alive::answer(work, under_way).await)
    }

    async fn get(
        &self,
        generation: Arc<Generation>,
        headers: HeaderMap,
        sender: Sender,
    ) -> Result<Response<Body>, RejectedMessage> {
        if let Err(malformed) = media::accepts_events(&headers) {
            return Err(self.flow.refuse_unread(malformed.into(), sender.peer));
        }
        // In a box, so that programs that embed Witgate compile: a call is a deep nest of futures.
        let events = Box::pin(self.flow.listen(generation, arrival(headers, Bytes::new(), sender))).await?;
        Ok(event_stream(StatusCode::OK, EVENTS, Body::events(events)))
    }

    async fn delete(
        &self,
        generation: Arc<Generation>,
        headers: HeaderMap,
        sender: Sender,
    ) -> Result<Response<Body>, RejectedMessage> {
        Box::pin(self.flow.close(generation, arrival(headers, Bytes::new(), sender))).await?;
        Ok(Response::new(Body::empty()))
    }
}

fn answer(reply: Reply) -> Response<Body> {
    let Reply { status, session, nonce, decision, body } = reply;
    let mut response = match body {
        AnswerBody::Accepted => with_status(status, Body::empty()),
        AnswerBody::Message { message, hold, .. } => json(status, hold.keep(message.into_text())),
        AnswerBody::Events(events) => event_stream(status, EVENTS, Body::events(events)),
        AnswerBody::Raw { body, .. } => {
            let mut response = with_status(status, Body::raw(body));
            response.headers_mut().insert(CONTENT_TYPE, JSON);
            response
        }
    };
    response.headers_mut().extend([decision.header()]);
    if let Some(session) = session.and_then(|session| HeaderValue::try_from(&*session).ok()) {
        response.headers_mut().insert(SESSION_ID, session);
    }
    if let Some(nonce) = nonce.and_then(|nonce| HeaderValue::try_from(&*nonce).ok()) {
        response.headers_mut().insert(DPOP_NONCE, nonce);
    }
    response
}

impl<U: Upstream> Endpoint<U> {
    /// The response to a refused message. A challenge names every scheme that is accepted, bearer tokens first, and user names last.
    fn render(&self, rejected: &RejectedMessage) -> Response<Body> {
        let wire = rejected.wire_at(self.denials);
        let generation = self.generations.live();
        let pipeline = generation.pipeline(self.place);
        let scopes = &pipeline.scopes;
        let mut response = render(&wire, rejected, self.metadata.as_deref(), scopes);
        if self.flow.takes_proofs() {
            for (name, value) in wire.dpop_headers() {
                response.headers_mut().append(name, value);
            }
        }
        let realm = pipeline.realm();
        if let Some(challenge) = realm.and_then(|realm| wire.basic_challenge(realm)) {
            response.headers_mut().append(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl<U: Upstream + 'static> FlowsByPlace<U> for Gateway<U> {
    fn flow(&self, place: usize) -> Option<Arc<Flow<U>>> {
        let table = self.table.load();
        let mut flows = table.endpoints.values().filter_map(|endpoint| endpoint.flow.alone());
        flows.find(|flow| flow.place() == place).cloned()
    }

    fn flow_for(&self, credential: &str) -> Option<Arc<Flow<U>>> {
        let uses_it = |flow: &&Arc<Flow<U>>| {
            let own = flow.upstream().credential_of_principals();
            own.is_some_and(|own| *own.settings().name == *credential)
        };
        let table = self.table.load();
        let users = table.endpoints.values().filter_map(|endpoint| endpoint.flow.alone()).filter(uses_it);
        users.min_by_key(|flow| flow.place()).cloned()
    }
}
