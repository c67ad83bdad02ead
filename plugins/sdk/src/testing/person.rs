//! Test callers and their calls.

use crate::{Call, Principal, TargetKind, Transport};

/// A caller that an authorizer decides about. It owns the values that [`Principal`] borrows.
///
/// ```
/// use witgate_plugin::testing::Person;
///
/// let ada = Person::named("ada").role("reader").scope("tools:read").proven_by("tokens");
/// assert_eq!(ada.principal().roles, ["reader"]);
/// ```
#[derive(Clone, Debug)]
pub struct Person {
    subject: String,
    proven_by: String,
    roles: Vec<String>,
    scopes: Vec<String>,
}

impl Person {
    /// A caller without roles and scopes, whose identity was established by the policy `keys`.
    pub fn named(subject: &str) -> Self {
        let (roles, scopes) = Default::default();
        Self { subject: subject.to_owned(), proven_by: "keys".to_owned(), roles, scopes }
    }

    /// With another role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// With another scope.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        self.scopes.push(scope.to_owned());
        self
    }

    /// With an identity that was established by the policy of this name.
    #[must_use]
    pub fn proven_by(self, policy: &str) -> Self {
        Self { proven_by: policy.to_owned(), ..self }
    }

    /// The principal, as a hook gets it.
    pub fn principal(&self) -> Principal<'_> {
        let Self { subject, proven_by, roles, scopes } = self;
        Principal { subject, proven_by, roles, scopes }
    }
}

/// A call of the tool `name`, over HTTP.
///
/// ```
/// use witgate_plugin::Call;
/// use witgate_plugin::testing::tool;
///
/// let call = tool("get_sum");
/// let entry_of_a_list = Call { listing: true, ..tool("get_sum") };
/// # assert_eq!((call.method, entry_of_a_list.target), ("tools/call", "get_sum"));
/// ```
pub fn tool(name: &str) -> Call<'_> {
    call("tools/call", TargetKind::Tool, name)
}

/// A call that reads the resource `uri`, over HTTP.
pub fn resource(uri: &str) -> Call<'_> {
    call("resources/read", TargetKind::Resource, uri)
}

/// A call that gets the prompt `name`, over HTTP.
pub fn prompt(name: &str) -> Call<'_> {
    call("prompts/get", TargetKind::Prompt, name)
}

/// A call of the protocol's method `name`, over HTTP.
pub fn method(name: &str) -> Call<'_> {
    call(name, TargetKind::Method, name)
}

fn call<'a>(method: &'a str, kind: TargetKind, target: &'a str) -> Call<'a> {
    Call { method, kind, target, transport: Transport::Http, listing: false }
}
