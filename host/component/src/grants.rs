//! The interfaces that can be granted to a component, in one list.

use wasmtime::component::Component;

use super::engine::Engine;

/// An importable interface of `witgate:auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the WIT package documents them")]
pub enum Interface {
    Types,
    Request,
    Caller,
    Clock,
    Log,
    VerdictMemory,
    Crypto,
    Secrets,
    Cache,
    Http,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Types,
        Self::Request,
        Self::Caller,
        Self::Clock,
        Self::Log,
        Self::VerdictMemory,
        Self::Crypto,
        Self::Secrets,
        Self::Cache,
        Self::Http,
    ];

    /// The name in the package.
    pub fn name(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::Request => "request",
            Self::Caller => "caller",
            Self::Clock => "clock",
            Self::Log => "log",
            Self::VerdictMemory => "verdict-memory",
            Self::Crypto => "crypto",
            Self::Secrets => "secrets",
            Self::Cache => "cache",
            Self::Http => "http",
        }
    }

    /// The line under `[policies.NAME]` that grants the interface. None: always granted.
    pub fn grant_line(self) -> Option<&'static str> {
        match self {
            Self::Types | Self::Request | Self::Caller | Self::Clock | Self::Log | Self::VerdictMemory => {
                None
            }
            Self::Crypto => Some("grants = { crypto = true }  # or keys = [\"NAME\"]"),
            Self::Secrets => Some("grants = { secrets = [\"NAME\"] }"),
            Self::Cache => Some("grants = { cache = true }"),
            Self::Http => Some("grants = { http = [\"https://HOST\"] }"),
        }
    }
}

/// The interfaces that one policy may import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GrantedInterfaces {
    /// `crypto`.
    pub crypto: bool,
    /// `secrets`.
    pub secrets: bool,
    /// `cache`.
    pub cache: bool,
    /// `http`.
    pub http: bool,
}

impl GrantedInterfaces {
    /// All of them.
    pub const EVERYTHING: Self = Self { crypto: true, secrets: true, cache: true, http: true };

    pub(super) fn covers(self, interface: Interface) -> bool {
        match interface {
            Interface::Types
            | Interface::Request
            | Interface::Caller
            | Interface::Clock
            | Interface::Log
            | Interface::VerdictMemory => true,
            Interface::Crypto => self.crypto,
            Interface::Secrets => self.secrets,
            Interface::Cache => self.cache,
            Interface::Http => self.http,
        }
    }
}

/// The error when an import of a component is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The import exists, but this policy has not been granted it.
    #[error("the component imports `{import}`, which is not granted; to grant it, add to the policy: {line}")]
    NotGranted {
        /// The import.
        import: String,
        /// The line to add.
        line: &'static str,
    },
    /// The package is known in another version.
    #[error(
        "the component imports `{0}`; this host has `witgate:auth@0.1.0`, so build it against that version"
    )]
    OtherVersion(String),
    /// No host of this kind has the import.
    #[error(
        "the component imports `{0}`, which this host does not have; it offers `witgate:auth@0.1.0`, and of WASI 0.2 \
         stubs of cli, clocks, filesystem, io, random and sockets: build it without other imports"
    )]
    Unknown(String),
    /// The import is from another version of WASI than 0.2.
    #[error(
        "the component imports `{0}`, which is not of WASI 0.2, and this host has stubs only for that: build it for WASI 0.2 \
         (`wasm32-wasip2`), or without WASI"
    )]
    OtherWasi(String),
    /// HTTP requests of WASI, which no grant would limit.
    #[error(
        "the component imports `{0}`, but policies cannot use `wasi:http`: send requests with `witgate:auth/http@0.1.0`, which \
         `grants = {{ http = [\"ORIGIN\"] }}` allows"
    )]
    WasiHttp(String),
}

/// Packages of WASI for which there are stubs.
const OFFERED_OF_WASI: [&str; 6] = ["cli", "clocks", "filesystem", "io", "random", "sockets"];

/// The requirement of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: every policy gets it.
    Nothing,
    /// Nothing: it is a stub without effects.
    Stub,
    /// A grant: the text for the configuration.
    Grant(&'static str),
    /// The import does not exist here.
    NotHad(ImportError),
}

/// The requirement of `import`.
pub fn need(import: &str) -> Need {
    match check_import(import, GrantedInterfaces::default()) {
        Ok(()) if import.starts_with("wasi:") => Need::Stub,
        Ok(()) => Need::Nothing,
        Err(ImportError::NotGranted { line, .. }) => Need::Grant(line),
        Err(error) => Need::NotHad(error),
    }
}

/// The text between the braces of a line with grants.
pub fn inside(line: &str) -> Option<&str> {
    Some(line.split_once("{ ")?.1.split_once(" }")?.0)
}

/// The imports of a component, by name.
pub fn imports(engine: &Engine, component: &Component) -> Vec<String> {
    component.component_type().imports(engine.inner()).map(|(name, _)| name.to_owned()).collect()
}

/// Compares a component's imports with the granted interfaces.
///
/// # Errors
/// With the first import that is not available.
pub fn check(engine: &Engine, component: &Component, granted: GrantedInterfaces) -> Result<(), ImportError> {
    imports(engine, component).iter().try_for_each(|import| check_import(import, granted))
}

fn check_import(import: &str, granted: GrantedInterfaces) -> Result<(), ImportError> {
    if let Some(rest) = import.strip_prefix("wasi:") {
        let (package, _) = rest.split_once('/').unwrap_or((rest, ""));
        let version = import.rsplit_once('@').map_or("", |(_, version)| version);
        return match version.starts_with("0.2.") {
            _ if package == "http" => Err(ImportError::WasiHttp(import.to_owned())),
            false => Err(ImportError::OtherWasi(import.to_owned())),
            true if OFFERED_OF_WASI.contains(&package) => Ok(()),
            true => Err(ImportError::Unknown(import.to_owned())),
        };
    }
    let Some(rest) = import.strip_prefix("witgate:auth/") else {
        return Err(ImportError::Unknown(import.to_owned()));
    };
    let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
    let Some(interface) = Interface::ALL.into_iter().find(|interface| interface.name() == name) else {
        return Err(ImportError::Unknown(import.to_owned()));
    };
    if version != "0.1.0" {
        return Err(ImportError::OtherVersion(import.to_owned()));
    }
    match interface.grant_line() {
        Some(line) if !granted.covers(interface) => {
            Err(ImportError::NotGranted { import: import.to_owned(), line })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_import_is_reported_with_its_replacement() {
        for (import, said) in [
            ("wasi:http/types@0.2.0", "witgate:auth/http@0.1.0"),
            ("wasi:http/client@0.3.0", "witgate:auth/http@0.1.0"),
            ("wasi:clocks/monotonic-clock@0.3.0", "WASI 0.2"),
            ("wasi:keyvalue/store@0.2.0-draft", "stubs of cli"),
            ("acme:things/store@1.0.0", "stubs of cli"),
        ] {
            let error = check_import(import, GrantedInterfaces::default()).unwrap_err().to_string();
            assert!(error.contains(import) && error.contains(said), "{error}");
        }
        assert_eq!(check_import("wasi:clocks/monotonic-clock@0.2.6", GrantedInterfaces::default()), Ok(()));
    }
}
