//! From a plugin's source to a component, in four languages.
//!
//! [`scaffold`] creates a project. [`build`] compiles a project to a component, and validates it against its world. If
//! a compiler is missing, it is installed if possible; otherwise the error names the command that installs it. `xtask`
//! builds the guests of the repository with the same toolchains.

pub mod apt;
pub mod cargo;
pub mod guest;
pub mod process;
pub mod scaffold;
pub mod toolchain;

mod c;
mod component;
mod error;
mod javascript;
mod prepare;
mod project;
mod python;
mod rust;
mod strip;
mod templates;
mod tools;
mod wit;

use std::fs;
use std::time::{Duration, Instant};

pub use component::{Surface, encode, surface};
pub use error::Error;
pub use project::{Lang, MANIFEST, Project, World};
pub use templates::package_version;
pub use tools::Tools;

/// The options of a build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Keep the names of functions and the lines of the source, and what the guest writes to its standard error.
    pub debug: bool,
}

/// The result of a build.
#[derive(Clone, Debug)]
pub struct BuildOutput {
    /// The component.
    pub bytes: Vec<u8>,
    /// The imports and exports of the component.
    pub surface: Surface,
    /// The compiler.
    pub with: String,
    /// The warnings of the compiler.
    pub warnings: String,
    /// The time that the build took.
    pub took: Duration,
}

/// The output of a language's compiler.
struct CompilerOutput {
    bytes: Vec<u8>,
    with: String,
    warnings: String,
}

/// Builds a project's component, and writes it to [`Project::component`].
///
/// # Errors
/// If the tools are missing, the source does not compile, or the component does not fit its world.
pub fn build(project: &Project, options: Options, tools: &Tools) -> Result<BuildOutput, Error> {
    let started = Instant::now();
    project.check_source()?;
    let compiled = match project.lang {
        Lang::Rust => rust::compile(project, options, tools),
        Lang::Python => python::compile(project, tools),
        Lang::Javascript => javascript::compile(project, options, tools),
        Lang::C => c::compile(project, options, tools),
    }?;
    let surface = surface(&compiled.bytes)?;
    surface.check(project)?;
    let bytes = match options.debug {
        true => compiled.bytes,
        false => strip::strip(&compiled.bytes).unwrap_or(compiled.bytes),
    };
    let file = project.component();
    write(&file, &bytes).map_err(|error| Error::io(&file, &error))?;
    let CompilerOutput { with, warnings, .. } = compiled;
    Ok(BuildOutput { bytes, surface, with, warnings, took: started.elapsed() })
}

/// Replaces the file atomically: a reader sees either the whole old file or the whole new one.
fn write(file: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    let directory = file.parent().unwrap_or_else(|| std::path::Path::new("."));
    let mut new = tempfile::NamedTempFile::new_in(directory)?;
    std::io::Write::write_all(&mut new, content)?;
    // All users may read a component, like other outputs of compilers.
    #[cfg(unix)]
    fs::set_permissions(new.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    new.persist(file)?;
    Ok(())
}
