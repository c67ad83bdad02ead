//! The complete lists of an upstream, asked from it as any client would, by a pipeline of this process that allows
//! everything.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use witgate_config::resolve;
use witgate_credentials::registry::OutboundCredentials;
use witgate_flow::port::{AnswerBody, Upstream as _};
use witgate_flow::request::Route;
use witgate_flow::{Arrival, Flow};
use witgate_message::credential::Credentials;
use witgate_plugin::{TargetKind, Transport};
use witgate_policy::generation::Generations;
use witgate_runtime::metrics::Metrics;
use witgate_services::network::Ways;
use witgate_upstream::any_upstream::AnyUpstream;
use witgate_upstream::own_tools::{AuthStatus, OwnTools};

use super::context::{Context, DEFAULT_CONFIG};
use super::explain::scene::ExplanationScene;
use super::outcome::CommandFailure;

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

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ListKind {
    Tools,
    Prompts,
    Resources,
    ResourceTemplates,
}

impl ListKind {
    /// The lists whose entries callers use by their names.
    pub(super) const TARGETS: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// All lists.
    pub(super) const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates];

    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::ResourceTemplates => "resources/templates/list",
        }
    }

    /// The kind of its entries.
    pub(super) fn target(self) -> TargetKind {
        match self {
            Self::Tools => TargetKind::Tool,
            Self::Prompts => TargetKind::Prompt,
            Self::Resources | Self::ResourceTemplates => TargetKind::Resource,
        }
    }

    /// The member of an answer with the list.
    fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resourceTemplates",
        }
    }

    /// The name of an entry.
    pub(super) fn name(self, entry: &Value) -> Option<&str> {
        let member = match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::ResourceTemplates => "uriTemplate",
        };
        entry.get(member)?.as_str()
    }
}

/// A list of an upstream.
pub(super) struct LiveList {
    pub(super) kind: ListKind,
    /// The entries, each of which has a name.
    pub(super) entries: Vec<Value>,
    /// True if there are more entries than are read.
    pub(super) is_cut: bool,
}

impl LiveList {
    /// The names of the entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| self.kind.name(entry))
    }
}

/// These lists of the upstream at `place`. An upstream without one of them has none of its entries.
pub(super) async fn read(
    context: &Context,
    scene: &ExplanationScene,
    place: usize,
    kinds: &[ListKind],
) -> Result<Vec<LiveList>, CommandFailure> {
    let flow = flow(context, scene, place).await?;
    let mut lists = Vec::new();
    let mut fault = None;
    for kind in kinds.iter().copied() {
        let pages = async |cursor: Option<&Value>| page(&flow, kind.method(), cursor).await;
        match entries(pages, kind, MOST).await {
            Ok((entries, is_cut)) => lists.push(LiveList { kind, entries, is_cut }),
            Err(why) => fault = Some(why),
        }
    }
    flow.upstream().shut_down().await;
    match fault.filter(|_| lists.is_empty()) {
        Some(why) => Err(CommandFailure::new(format!("the upstream gives no list: {why}"))),
        None => Ok(lists),
    }
}

async fn flow(
    context: &Context,
    scene: &ExplanationScene,
    place: usize,
) -> Result<Flow<AnyUpstream>, CommandFailure> {
    let upstream =
        scene.upstream_at(place).ok_or_else(|| CommandFailure::new("there is no such upstream"))?;
    let loaded = resolve::load_text(Path::new(DEFAULT_CONFIG), ALL, &context.environment);
    let loaded = loaded.map_err(CommandFailure::Config)?;
    // The network settings stay those of the configuration.
    let config = witgate_config::Config {
        network: scene.config.network.clone(),
        auth_disabled: false,
        ..loaded.config
    };
    let generation = scene.factory.candidate(&config, None).await;
    let generation = generation.map_err(|errors| {
        CommandFailure::new(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let ways = Ways::closed();
    ways.take(scene.config.network.as_ref());
    let credentials = OutboundCredentials::new(ways);
    let own = OwnTools::new(AuthStatus { enabled: true, key_configured: true });
    let target = AnyUpstream::new(upstream, scene.config.server.shutdown_grace, own, None, &credentials);
    let target = target.map_err(|error| CommandFailure::new(error.to_string()))?;
    let route = Route { pipeline: 0, ..Route::clone(scene.route(place)?) };
    let generations = Arc::new(Generations::new(generation, 1));
    Ok(Flow::new(Arc::new(route), target, generations, &Metrics::default(), CancellationToken::new()))
}

/// The entries in all pages of a list. True: there are more than these bounds allow.
async fn entries(
    page: impl AsyncFn(Option<&Value>) -> Result<Value, String>,
    kind: ListKind,
    most: ListBounds,
) -> Result<(Vec<Value>, bool), String> {
    let (mut all, mut bytes, mut cursor, began) = (Vec::new(), 0usize, None, Instant::now());
    for _ in 0..most.pages {
        let mut page = page(cursor.as_ref()).await?;
        let next = page.get("nextCursor").filter(|next| !next.is_null()).cloned();
        let Some(Value::Array(entries)) = page.get_mut(kind.member()).map(Value::take) else {
            return Err("the answer has no list".to_owned());
        };
        for entry in entries.into_iter().filter(|entry| kind.name(entry).is_some()) {
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
        let (entries, is_cut) = entries(pages, ListKind::Tools, most).await.unwrap();
        let list = LiveList { kind: ListKind::Tools, entries, is_cut };
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
