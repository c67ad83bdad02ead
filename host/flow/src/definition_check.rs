//! The check of definitions: authorize → this → upstream. Where entries without an approved definition are held, a call
//! reaches the server only after Witgate has seen the approved definition of its target, in the life of the server that
//! the call reaches.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use witgate_base::printable::clean;
use witgate_config::pins::{EntryKind, PinMode, Pins};
use witgate_message::call::{Call, Target};
use witgate_message::credential::Credentials;
use witgate_plugin::Denial;
use witgate_policy::generation::{Generation, Pipeline};

use crate::Flow;
use crate::audit::targets;
use crate::authenticate::identity::Caller;
use crate::authorize::Permit;
use crate::definitions::{DefinitionAccess, DefinitionLife, LifeKey, may_be_approved};
use crate::listing::own_list::ListAsker;
use crate::port::Upstream;
use crate::reject::{Rejection, UpstreamFault};
use crate::request::Request;

/// The reason code of calls whose target has no approved definition.
const DEFINITION_CHANGED: &str = "definition-changed";

/// The time limit for reading lists before a call.
const LISTS: Duration = Duration::from_secs(30);

impl<U: Upstream> Flow<U> {
    /// Notes in the request which life of the server answers, if its definitions are compared.
    pub(super) fn follow_definitions(
        &self,
        generation: &Generation,
        request: &Request,
        caller: &Caller,
        session: Option<&str>,
    ) {
        if generation.pipeline(request.route.pipeline).pins().is_some() {
            let key = LifeKey::new(caller.principal(), session);
            let life = self.definitions.life(key, caller.party(request.peer));
            request.definitions.get_or_init(|| life);
        }
    }

    /// Checks that the server shows the approved definitions of all targets of a call.
    ///
    /// # Errors
    /// `Denied`; those of the upstream if it gives no lists.
    pub(super) async fn check_definitions(
        &self,
        permit: &Arc<Permit>,
        session: Option<&str>,
        shown: &Credentials,
    ) -> Result<(), Rejection> {
        let request = permit.request();
        let pipeline = permit.generation().pipeline(request.route.pipeline);
        let Some(pins) = pipeline.pins().filter(|pins| pins.mode == PinMode::Hold) else { return Ok(()) };
        let token = self.caller_token(shown, permit);
        let asker = ListAsker { permit, session, token, answers: &self.answers };
        for target in targets(request.call.access()) {
            let life = request.definitions.get().ok_or_else(|| withheld(&request.route.upstream, target))?;
            let check = TargetCheck { pins, life, target };
            if !check.is_approved(&self.upstream, &asker).await? {
                return Err(withheld(&request.route.upstream, target));
            }
        }
        Ok(())
    }
}

/// The check of one target.
struct TargetCheck<'a> {
    pins: &'a Pins,
    life: &'a DefinitionLife,
    target: &'a Target,
}

impl TargetCheck<'_> {
    async fn is_approved<U: Upstream>(&self, upstream: &U, asker: &ListAsker<'_>) -> Result<bool, Rejection> {
        match self.access(false) {
            DefinitionAccess::Approved => return Ok(true),
            DefinitionAccess::Withheld => return Ok(false),
            DefinitionAccess::Unknown => {}
        }
        let reading = timeout(LISTS, self.read_lists(upstream, asker)).await;
        reading.unwrap_or_else(|_| Err(too_slow()))?;
        // The lists count that have just been read, even if the server has announced another change meanwhile.
        Ok(self.access(true) == DefinitionAccess::Approved)
    }

    fn access(&self, at_once: bool) -> DefinitionAccess {
        self.life.access(&self.pins.approved, (self.target.kind, &self.target.name), at_once)
    }

    /// Reads the lists on which the target depends, unless another call has done so meanwhile.
    async fn read_lists<U: Upstream>(&self, upstream: &U, asker: &ListAsker<'_>) -> Result<(), Rejection> {
        let _turn = self.life.turn().await;
        for kind in EntryKind::of_target(self.target.kind) {
            if self.life.has_list(&self.pins.approved, *kind, false) {
                continue;
            }
            let begin = self.life.begin_list();
            let entries = asker.list(upstream, *kind).await?;
            self.life.take_list(self.pins, (*kind, begin), &entries);
        }
        Ok(())
    }
}

/// The denial of a call that no list of the server could allow: a target has no approved definition.
pub(super) fn never_approved(pipeline: &Pipeline, upstream: &str, call: &Call) -> Option<Rejection> {
    let pins = pipeline.pins().filter(|pins| pins.mode == PinMode::Hold)?;
    let is_withheld = |target: &&Target| !may_be_approved(&pins.approved, target.kind, &target.name);
    targets(call.access()).iter().find(is_withheld).map(|target| withheld(upstream, target))
}

/// The denial of a call whose target has no approved definition.
fn withheld(upstream: &str, target: &Target) -> Rejection {
    let name = clean(&format!("{}{}", target.prefix(), target.name));
    let detail = format!(
        "the definition of `{name}` is not the approved one, or the server does not list it; `witgate upstream diff \
         {upstream}` shows the difference"
    );
    let denial = Denial { reason: DEFINITION_CHANGED.to_owned(), detail: Some(detail), ..Denial::default() };
    Rejection::Denied { policy: None, denial }
}

fn too_slow() -> Rejection {
    let message = "The MCP server did not give its lists in time".to_owned();
    Rejection::Upstream { fault: UpstreamFault::Timeout, message }
}
