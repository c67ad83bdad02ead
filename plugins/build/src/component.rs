//! Components: how one is made from a core module, and its imports and exports.

use anyhow::Context;
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::{Error, Lang, Project, package_version};

/// The package of the worlds of plugins.
const PACKAGE: &str = "witgate:auth/";

/// The imports and exports of a component, by the names of interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// The imports.
    pub imports: Vec<String>,
    /// The exports.
    pub exports: Vec<String>,
}

/// Encodes a core module that contains the type of its world as a component.
///
/// # Errors
/// If the module does not fit its world.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    encode().context("the module does not fit its world")
}

/// The imports and exports of a component.
///
/// # Errors
/// If it is not a component.
pub fn surface(component: &[u8]) -> Result<Surface, Error> {
    let decoded = wit_component::decode(component);
    let Ok(DecodedWasm::Component(resolve, world)) = decoded else {
        return Err(Error::Source("the compiled file is not a component".to_owned()));
    };
    let Some(world) = resolve.worlds.get(world) else { return Ok(Surface::default()) };
    let names = |items: &mut dyn Iterator<Item = &wit_parser::WorldKey>| {
        items.map(|key| resolve.name_world_key(key)).collect()
    };
    Ok(Surface { imports: names(&mut world.imports.keys()), exports: names(&mut world.exports.keys()) })
}

impl Surface {
    /// Validates a component against the world of a project.
    pub(crate) fn check(&self, project: &Project) -> Result<(), Error> {
        let wrong: Vec<String> =
            self.missing(project).into_iter().chain(self.other_version()).chain(self.foreign()).collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::Source(format!(
            "{} does not fit the world `{}` in plugin.toml:\n- {}",
            project.name,
            project.world.name(),
            wrong.join("\n- ")
        )))
    }

    fn missing(&self, project: &Project) -> Vec<String> {
        let named = |name: &&&str| {
            let (any, own) = (format!("{PACKAGE}{name}@"), format!("{PACKAGE}{name}"));
            self.exports.iter().any(|export| export.starts_with(&any) || *export == own)
        };
        let missing = project.world.exports().iter().filter(|name| !named(name));
        let help = match project.lang {
            Lang::Rust => match project.world {
                crate::World::Authenticator => {
                    "end src/lib.rs with `witgate_plugin::export_authenticator!(Plugin);`"
                }
                crate::World::Authorizer => {
                    "end src/lib.rs with `witgate_plugin::export_authorizer!(Plugin);`"
                }
                crate::World::Policy => "end src/lib.rs with `witgate_plugin::export_policy!(Plugin);`",
            },
            _ => "give the source its functions, or change `world`",
        };
        missing
            .map(|name| format!("it does not export `{PACKAGE}{name}@{}`: {help}", package_version()))
            .collect()
    }

    fn other_version(&self) -> Option<String> {
        let versions = self.imports.iter().chain(&self.exports).filter_map(|name| {
            let (_, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
            Some(version)
        });
        let other = versions.into_iter().find(|version| *version != package_version())?;
        Some(format!(
            "it is built for witgate:auth@{other}, and this Witgate has {}: take `wit/` (and `sdk/`) of a project that \
             `witgate plugin new` makes now",
            package_version()
        ))
    }

    fn foreign(&self) -> Vec<String> {
        let is_unknown = |name: &&String| !name.starts_with(PACKAGE) && !is_wasi(name);
        let foreign = self.imports.iter().filter(is_unknown);
        foreign
            .map(|name| {
                format!("it imports `{name}`, which no plugin may import: Witgate offers witgate:auth, and stubs of wasi 0.2 without HTTP")
            })
            .collect()
    }
}

/// True for the interfaces that the host links for every component.
fn is_wasi(name: &str) -> bool {
    let Some((interface, version)) = name.split_once('@') else { return false };
    let offered =
        ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
    offered.iter().any(|package| interface.starts_with(package)) && version.starts_with("0.2.")
}
