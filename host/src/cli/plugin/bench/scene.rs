//! The subjects of the benchmark: the component and a built-in, each in the sandbox of the cases, without a
//! trace.

use std::path::Path;

use serde_json::json;
use witgate_plugin::Scheme;

use super::arguments::Arguments;
use crate::cli::outcome::CommandFailure;
use crate::cli::plugin::plugin_argument::PluginUnderTest;
use witgate_base::provenance::Provenance;
use witgate_cases::{
    Case, CaseCall, HookQuestion, PreparedQuestion, Principal, Question, SandboxPolicy, TestSubject,
};
use witgate_component::compile::Compiler;
use witgate_component::engine::Engine;
use witgate_component::load::Loader;
use witgate_config::{Limits, PolicyKind};
use witgate_policy::answer::Outcome;

/// Memory limit of a component without configured limits: enough for an interpreted language.
const MEMORY: usize = 256 << 20;

/// The environment of the policies.
pub(super) struct Scene {
    cast: PluginUnderTest,
    call: Option<String>,
    engine: Engine,
}

impl Scene {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, CommandFailure> {
        let engine = Engine::new().map_err(|error| CommandFailure::new(error.to_string()))?;
        let mut cast = arguments.of.cast()?;
        let roomy = Limits { memory: Some(MEMORY), ..Limits::default() };
        cast.case.limits.get_or_insert(roomy);
        Ok(Self { cast, call: arguments.call.clone(), engine })
    }

    pub(super) fn path(&self) -> &Path {
        &self.cast.path
    }

    /// Compiles the component with an empty cache.
    pub(super) async fn compile(&self) -> Result<(), CommandFailure> {
        self.loader().await.map(drop)
    }

    /// A loader that has compiled the component.
    pub(super) async fn loader(&self) -> Result<Loader, CommandFailure> {
        let loader = Loader::new(self.engine.clone(), Compiler::own(), None);
        let loaded = loader.load(self.path(), &Provenance::default()).await;
        loaded.map_err(|error| CommandFailure::new(error.to_string()))?;
        Ok(loader)
    }

    /// The component as a policy.
    pub(super) async fn component(&self, loader: &Loader) -> Result<SandboxPolicy, CommandFailure> {
        let PluginUnderTest { subject, dir, case, .. } = &self.cast;
        made(subject, loader, dir, case).await
    }

    /// A check that does nearly nothing.
    pub(super) async fn native(&self, loader: &Loader) -> Result<SandboxPolicy, CommandFailure> {
        let case = Case::of(json!({ "roles": { "bench": { "allow": ["*"] } } }));
        made(&TestSubject::builtin(PolicyKind::Rbac), loader, &self.cast.dir, &case).await
    }

    /// The question for the component: that of the case, or one about a tool, from a caller whom the plugin judges.
    pub(super) fn asking(&self, component: SandboxPolicy) -> BenchQuestion {
        let scheme = component.first_scheme();
        let question = match self.cast.case.steps.first() {
            Some(step) => step.question.clone(),
            None => Question::new(
                CaseCall::named("echo"),
                ask(scheme.filter(|_| !component.policy().authorizes())),
            ),
        };
        BenchQuestion::of(component, self.called(question))
    }

    /// The question for the native policy.
    pub(super) fn asking_native(&self, native: SandboxPolicy) -> BenchQuestion {
        BenchQuestion::of(native, self.called(Question::new(CaseCall::named("echo"), ask(None))))
    }

    fn called(&self, mut question: Question) -> Question {
        if let Some(name) = &self.call {
            question.call = question.call.on(name);
        }
        question
    }
}

async fn made(
    subject: &TestSubject,
    loader: &Loader,
    dir: &Path,
    case: &Case,
) -> Result<SandboxPolicy, CommandFailure> {
    subject.unwatched(loader, dir, case).await.map_err(|error| CommandFailure::new(error.to_string()))
}

fn ask(scheme: Option<Scheme>) -> HookQuestion {
    match scheme {
        Some(scheme) => HookQuestion::Who { scheme, value: "a credential of nobody".to_owned() },
        None => HookQuestion::May(Principal { roles: vec!["bench".to_owned()], ..Principal::default() }),
    }
}

/// A policy, and a question for it.
pub(super) struct BenchQuestion {
    policy: SandboxPolicy,
    ready: PreparedQuestion,
}

impl BenchQuestion {
    fn of(policy: SandboxPolicy, question: Question) -> Self {
        let ready = policy.ready(&question);
        Self { policy, ready }
    }

    /// Asks the question. Any answer is accepted.
    pub(super) async fn ask(&self) -> Result<(), CommandFailure> {
        match self.policy.put(&self.ready).await {
            Outcome::Failed(failure, detail) => Err(CommandFailure::new(format!(
                "the hook fails with `{}`, so there is nothing to measure: {detail}",
                failure.reason()
            ))),
            Outcome::Verdict(_) | Outcome::Decision(_) => Ok(()),
        }
    }

    /// Mean memory of one instance, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.policy.policy().pool().map_or(0, |pool| pool.memory() / pool.instances().max(1))
    }
}
