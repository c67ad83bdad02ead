//! The pages over stdio, on a listener of their own that only this machine reaches.

use std::sync::Arc;
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use futures_util::future::join_all;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::address::PageAddress;
use super::page::Page;
use super::{ConnectPages, FlowsByPlace};
use crate::connections::table::{ConnectionLimits, Connections};
use crate::connections::{self, ConnectionEnds, Listener, unread_body};
use crate::hosts::Hosts;
use crate::http::body::Body;
use crate::http::sender::Sender;
use crate::refusals::{EarlyCause, EarlyRefusals};
use witgate_credentials::connect::ConnectDesk;
use witgate_flow::Flow;
use witgate_flow::body::Inflow;
use witgate_flow::port::Upstream;
use witgate_message::headers::origin::AllowedNames;
use witgate_runtime::memory::RequestMemory;

/// The connections of one person's browser.
const CONNECTIONS: ConnectionLimits = ConnectionLimits { all: 64, of_one: 64 };

/// The memory for their forms.
const MEMORY: usize = 1 << 20;

/// The time that running requests have at the end.
const GRACE: Duration = Duration::from_secs(1);

/// The listener, for the one upstream of a configuration for stdio.
pub struct LocalPages<U> {
    pages: ConnectPages,
    flow: Arc<Flow<U>>,
    hosts: Hosts,
    connections: Arc<Connections>,
}

impl<U: Upstream + 'static> LocalPages<U> {
    /// The pages for the links of `desk`.
    pub fn new(desk: Arc<ConnectDesk>, flow: Arc<Flow<U>>) -> Self {
        // Names of loopback are always accepted, and no others.
        let hosts = Hosts::new(AllowedNames::new([], []), "the page for accounts");
        let connections = Connections::new(CONNECTIONS, RequestMemory::new(MEMORY));
        let pages = ConnectPages::new(desk, Arc::clone(connections.refusals()));
        Self { pages, flow, hosts, connections }
    }

    /// The refusals of requests, for the audit.
    pub fn refusals(&self) -> Arc<EarlyRefusals> {
        Arc::clone(self.connections.refusals())
    }

    /// Serves at all `sockets` until `stop`.
    pub async fn serve(self, sockets: Vec<TcpListener>, stop: CancellationToken) {
        let connections = Arc::clone(&self.connections);
        let pages = Arc::new(self);
        let respond = move |request: Request<Incoming>, ends: ConnectionEnds| {
            let pages = Arc::clone(&pages);
            async move { pages.respond(request.map(Inflow::Wire), ends.into()).await }
        };
        let listening = sockets.into_iter().map(|socket| {
            let (cut, connections) = (CancellationToken::new(), Arc::clone(&connections));
            let listener = Listener { socket, tls: None, connections, workers: Arc::default(), cut };
            connections::serve(listener, stop.clone(), GRACE, respond.clone())
        });
        join_all(listening).await;
    }

    async fn respond(&self, request: Request<Inflow>, sender: Sender) -> Response<Body> {
        let (parts, mut body) = request.into_parts();
        let connection = sender.connection.clone();
        let address = PageAddress::of(parts.uri.path(), parts.uri.query());
        let address = address.filter(|address| self.flow_for(address.credential()).is_some());
        let is_known = self.hosts.check(&parts.uri, &parts.headers, sender.local, sender.peer).is_ok();
        let answer = match address.filter(|_| is_known) {
            None => self.nothing(&sender),
            Some(address) => {
                let held = self.connections.memory().hold(sender.peer.map(Into::into));
                Box::pin(self.pages.respond(self, address, (parts, &mut body), (sender, held))).await
            }
        };
        unread_body::discard(body, connection.as_ref());
        answer
    }

    fn nothing(&self, sender: &Sender) -> Response<Body> {
        let mut answer = Page::problem("Not found", "There is nothing here.").response(StatusCode::NOT_FOUND);
        let decision =
            sender.peer.map(|peer| self.connections.refusals().note(EarlyCause::UnknownPath, peer));
        answer.headers_mut().extend(decision.map(|decision| decision.header()));
        answer
    }
}

impl<U: Upstream + 'static> FlowsByPlace<U> for LocalPages<U> {
    fn flow(&self, _: usize) -> Option<Arc<Flow<U>>> {
        Some(Arc::clone(&self.flow))
    }

    fn flow_for(&self, credential: &str) -> Option<Arc<Flow<U>>> {
        let own = self.flow.upstream().credential_of_principals()?;
        (*own.settings().name == *credential).then(|| Arc::clone(&self.flow))
    }
}
