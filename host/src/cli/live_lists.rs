//! The complete lists of an upstream, asked from it as any client would, by a pipeline of this process that allows
//! everything.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use witgate_cases::factory::Factory;
use witgate_config::environment::Environment;
use witgate_config::pins::EntryKind;
use witgate_config::{Config, resolve};
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::port::{AnswerBody, Upstream as _};
use witgate_flow::request::Route;
use witgate_flow::{Arrival, Flow};
use witgate_message::credential::Credentials;
use witgate_plugin::Transport;
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::era::SpokenEras;
use witgate_upstream::own_tools::{AuthStatus, OwnTools};

use super::context::{Context, DEFAULT_CONFIG};
use super::explain::scene::ExplanationScene;
use super::outcome::CommandFailure;
use crate::routes::route;

/// Rules that allow everything.
const ALL: &str = "[upstreams.all]\nown_tools = true\n[pipeline]\nanonymous = { roles = [\"all\"] }\n\
                   authorize = [\"all\"]\n[policies.all]\nkind = \"rbac\"\nconfig.roles.all = { allow = [\"*\"] }\n";

/// The bounds of one list.
#[derive(Clone, Copy)]
struct ListBounds {
    entries: usize,
    /// The size of all entries as JSON.
    bytes: usize,
    pages: usize,
    /// The time after which no further page is asked for.
    time: Duration,
}

/// The most that is read of one list. A server may give pages without entries for ever.
const MOST: ListBounds =
    ListBounds { entries: 10_000, bytes: 64 << 20, pages: 1_000, time: Duration::from_secs(60) };

/// A list of an upstream.
pub(super) struct LiveList {
    pub(super) kind: EntryKind,
    /// The entries, each of which has a name.
    pub(super) entries: Vec<Value>,
    /// True if there are more entries than are read.
    pub(super) is_cut: bool,
}

impl LiveList {
    /// The names of the entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| self.kind.name_of(entry))
    }
}

/// The upstream whose lists are read.
#[derive(Clone, Copy)]
pub(super) struct ListedUpstream<'a> {
    pub(super) config: &'a Config,
    /// Its place in the configuration.
    pub(super) place: usize,
    pub(super) factory: &'a Factory,
    pub(super) environment: &'a Environment,
}

/// Lists of an upstream.
pub(super) struct ListAnswers {
    pub(super) lists: Vec<LiveList>,
    /// The eras that it supports, as far as they are known.
    pub(super) eras: Option<SpokenEras>,
}

/// These lists of the upstream at `place`.
pub(super) async fn read(
    context: &Context,
    scene: &ExplanationScene,
    place: usize,
    kinds: &[EntryKind],
) -> Result<Vec<LiveList>, CommandFailure> {
    let (config, factory) = (&scene.config, &scene.factory);
    let listed = ListedUpstream { config, place, factory, environment: &context.environment };
    Ok(read_all(listed, kinds).await?.lists)
}

/// These lists of an upstream. An upstream without one of them has none of its entries.
pub(super) async fn read_all(
    listed: ListedUpstream<'_>,
    kinds: &[EntryKind],
) -> Result<ListAnswers, CommandFailure> {
    let UpstreamAnswers { lists, eras, fault } = ask(listed, kinds).await?;
    match fault.filter(|_| lists.is_empty()) {
        Some(why) => Err(CommandFailure::new(format!("the upstream gives no list: {why}"))),
        None => Ok(ListAnswers { lists, eras }),
    }
}

/// All lists of the upstream at `place`, none of which may fail. One that the upstream does not have is empty.
pub(super) async fn read_whole(
    context: &Context,
    scene: &ExplanationScene,
    place: usize,
) -> Result<Vec<LiveList>, CommandFailure> {
    let (config, factory) = (&scene.config, &scene.factory);
    let listed = ListedUpstream { config, place, factory, environment: &context.environment };
    let UpstreamAnswers { lists, fault, .. } = ask(listed, &EntryKind::ALL).await?;
    match fault {
        Some(why) => Err(CommandFailure::new(format!("the upstream does not give all lists: {why}"))),
        None => Ok(lists),
    }
}

/// The answers of an upstream to requests for lists.
struct UpstreamAnswers {
    lists: Vec<LiveList>,
    eras: Option<SpokenEras>,
    /// The last error, other than that of an upstream without a list.
    fault: Option<String>,
}

async fn ask(listed: ListedUpstream<'_>, kinds: &[EntryKind]) -> Result<UpstreamAnswers, CommandFailure> {
    let flow = flow(listed).await?;
    let (mut lists, mut fault) = (Vec::new(), None);
    for kind in kinds.iter().copied() {
        let pages = async |cursor: Option<&Value>| page(&flow, kind.method(), cursor).await;
        match entries(pages, kind, MOST).await {
            Ok((entries, is_cut)) => lists.push(LiveList { kind, entries, is_cut }),
            Err(why) if why.contains("-32601") => {
                lists.push(LiveList { kind, entries: Vec::new(), is_cut: false });
            }
            Err(why) => fault = Some(why),
        }
    }
    let eras = flow.upstream().eras();
    flow.upstream().shut_down().await;
    Ok(UpstreamAnswers { lists, eras, fault })
}

async fn flow(listed: ListedUpstream<'_>) -> Result<Flow<AnyUpstream>, CommandFailure> {
    let ListedUpstream { config: own, place, factory, environment } = listed;
    let upstream =
        own.upstreams.get(place).ok_or_else(|| CommandFailure::new("there is no such upstream"))?;
    let loaded = resolve::load_text(Path::new(DEFAULT_CONFIG), ALL, environment);
    let loaded = loaded.map_err(CommandFailure::Config)?;
    // The network settings stay those of the configuration.
    let config = Config { network: own.network.clone(), auth_disabled: false, ..loaded.config };
    let generation = factory.candidate(&config, None).await;
    let generation = generation.map_err(|errors| {
        CommandFailure::new(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let ways = Ways::closed();
    ways.take(own.network.as_ref());
    let credentials = OutboundCredentials::new(ways);
    let tools = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let target = AnyUpstream::new(upstream, own.server.shutdown_grace, tools, None, &credentials);
    let target = target.map_err(|error| CommandFailure::new(error.to_string()))?;
    let route = Route { pipeline: 0, ..route(own, place, upstream) };
    let generations = Arc::new(Generations::new(generation, 1));
    Ok(Flow::new(Arc::new(route), target, generations, &Metrics::default(), CancellationToken::new()))
}

/// The entries in all pages of a list. True: there are more than these bounds allow.
async fn entries(
    page: impl AsyncFn(Option<&Value>) -> Result<Value, String>,
    kind: EntryKind,
    most: ListBounds,
) -> Result<(Vec<Value>, bool), String> {
    let (mut all, mut bytes, mut cursor, began) = (Vec::new(), 0usize, None, Instant::now());
    for _ in 0..most.pages {
        let mut page = page(cursor.as_ref()).await?;
        let next = page.get("nextCursor").filter(|next| !next.is_null()).cloned();
        let Some(Value::Array(entries)) = page.get_mut(kind.list()).map(Value::take) else {
            return Err("the answer has no list".to_owned());
        };
        for entry in entries.into_iter().filter(|entry| kind.name_of(entry).is_some()) {
            bytes = bytes.saturating_add(entry.to_string().len());
            if all.len() == most.entries || bytes > most.bytes {
                return Ok((all, true));
            }
            all.push(entry);
        }
        if next.is_none() || next == cursor {
            return Ok((all, false));
        }
        if all.len() == most.entries {
            return Ok((all, true));
        }
        if began.elapsed() >= most.time {
            break;
        }
        cursor = next;
    }
    Ok((all, true))
}

async fn page(flow: &Flow<AnyUpstream>, method: &str, cursor: Option<&Value>) -> Result<Value, String> {
    let mut params = json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    } });
    if let (Some(cursor), Some(params)) = (cursor, params.as_object_mut()) {
        params.insert("cursor".to_owned(), cursor.clone());
    }
    let message = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let arrival = Arrival {
        transport: Transport::Stdio,
        peer: None,
        known: Default::default(),
        under_way: Default::default(),
        certificate: None,
        headers: Default::default(),
        body: Bytes::from(message.to_string()),
        shown: Some(Credentials::default()),
        session: None,
    };
    let reply = flow.handle(arrival).await.map_err(|rejected| {
        let wire = rejected.rejection.wire();
        String::from_utf8_lossy(&wire.body(None)).into_owned()
    })?;
    let AnswerBody::Message { message, .. } = reply.body else {
        return Err("the answer is no message".to_owned());
    };
    let answer: Value = serde_json::from_slice(message.as_ref()).map_err(|error| error.to_string())?;
    match (answer.get("result"), answer.get("error")) {
        (Some(result), _) => Ok(result.clone()),
        (None, error) => Err(error.map(ToString::to_string).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The names of a list, the number of pages that were read, and whether there are more. `page` makes the page of a
    /// number.
    async fn read(most: ListBounds, page: impl Fn(usize) -> Value) -> (Vec<String>, usize, bool) {
        let asked = AtomicUsize::new(0);
        let pages = async |_: Option<&Value>| Ok(page(asked.fetch_add(1, Ordering::Relaxed)));
        let (entries, is_cut) = entries(pages, EntryKind::Tool, most).await.unwrap();
        let list = LiveList { kind: EntryKind::Tool, entries, is_cut };
        (list.names().map(str::to_owned).collect(), asked.into_inner(), is_cut)
    }

    fn endless(number: usize) -> Value {
        json!({ "tools": [], "nextCursor": number.to_string() })
    }

    #[tokio::test]
    async fn a_list_that_never_ends_is_cut() {
        let (names, asked, is_cut) = read(MOST, endless).await;
        assert_eq!((names.len(), asked, is_cut), (0, MOST.pages, true));
        let (_, asked, is_cut) = read(ListBounds { time: Duration::ZERO, ..MOST }, endless).await;
        assert_eq!((asked, is_cut), (1, true));
        let most = ListBounds { entries: 3, ..MOST };
        let two =
            |number: usize| json!({ "tools": [{ "name": "a" }, { "name": "b" }], "nextCursor": number });
        assert_eq!(read(most, two).await, (["a", "b", "a"].map(String::from).to_vec(), 2, true));
        let large = ListBounds { bytes: two(0)["tools"][0].to_string().len(), ..MOST };
        assert_eq!(read(large, two).await, (vec!["a".to_owned()], 1, true));
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_end() {
        let page = |number: usize| match number {
            0 => json!({ "tools": [{ "name": "a" }], "nextCursor": "1" }),
            _ => json!({ "tools": [{ "name": "b" }] }),
        };
        assert_eq!(read(MOST, page).await, (["a", "b"].map(String::from).to_vec(), 2, false));
        // A server that repeats its cursor gives the same page again.
        let same = |_| json!({ "tools": [{ "name": "a" }], "nextCursor": "1" });
        assert_eq!(read(MOST, same).await.1, 2);
    }
}
