//! C: clang and wasm-ld, without a system library. The project's `support/` has the few functions that a plugin needs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use wit_bindgen_core::Files;
use wit_parser::Resolve;

use crate::process::{ask, attempt, works};
use crate::templates::WIT;
use crate::{CompilerOutput, Error, Options, Project, Tools, World, apt, component};

/// Time limit for the compiler. A plugin has only a few files.
const BUILD: Duration = Duration::from_secs(300);

const TARGET: &str = "--target=wasm32-unknown-unknown";

/// The directory of the bindings, which every build generates from `wit/`.
const BINDINGS: &str = "bindings";

/// The compiler and the linker.
pub(crate) struct CCompiler {
    clang: PathBuf,
    linker: PathBuf,
    version: String,
}

pub(crate) fn compile(project: &Project, options: Options, tools: &Tools) -> Result<CompilerOutput, Error> {
    let compiler = {
        let _lock = tools.lock().map_err(Error::tools)?;
        find().map_err(Error::tools)?
    };
    let out = tempfile::tempdir().map_err(|error| Error::tools(error.into()))?;
    let mut objects = write_bindings(project, out.path())?;
    let mut warnings = String::new();
    for (index, source) in sources(project)?.iter().enumerate() {
        let object = out.path().join(format!("{index}.o"));
        warnings += &compiler.compile(project, options, source, &object)?;
        objects.push(object);
    }
    let module = compiler.link(project, options, &objects, &out.path().join("module.wasm"))?;
    let bytes = component::encode(&module)
        .map_err(|error| Error::Source(format!("the module does not fit its world: {error:#}")))?;
    Ok(CompilerOutput { bytes, with: compiler.version, warnings })
}

/// The sources, by name: those of the project's directory, its `support/`, and the bindings.
fn sources(project: &Project) -> Result<Vec<PathBuf>, Error> {
    let mut sources = Vec::new();
    for below in ["", "support", BINDINGS] {
        let dir = project.dir.join(below);
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path());
        sources.extend(entries.filter(|path| path.extension() == Some("c".as_ref())));
    }
    let main = project.dir.join(&project.source);
    if !sources.contains(&main) {
        sources.push(main);
    }
    sources.sort();
    Ok(sources.iter().map(|path| path.strip_prefix(&project.dir).unwrap_or(path).to_owned()).collect())
}

impl CCompiler {
    fn compile(
        &self,
        project: &Project,
        options: Options,
        source: &Path,
        object: &Path,
    ) -> Result<String, Error> {
        let mut clang = Command::new(&self.clang);
        clang.args([TARGET, "-std=c11", "-Os", "-ffreestanding", "-fno-builtin", "-Wall", "-Wextra"]);
        clang.args(["-Isupport", "-Ibindings", "-ffile-prefix-map=./="]);
        if options.debug {
            clang.args(["-g", "-fdebug-compilation-dir=."]);
        }
        clang.arg("-c").arg(source).arg("-o").arg(object).current_dir(&project.dir);
        let end = attempt(&mut clang, BUILD).map_err(Error::tools)?;
        match end.succeeded() {
            // The author cannot correct warnings in generated code.
            true if source.starts_with(BINDINGS) => Ok(String::new()),
            true => Ok(end.output),
            false => Err(Error::Source(format!(
                "{} does not compile ({}):\n{}",
                source.display(),
                end.reason(),
                end.output.trim_end()
            ))),
        }
    }

    fn link(
        &self,
        project: &Project,
        options: Options,
        objects: &[PathBuf],
        module: &Path,
    ) -> Result<Vec<u8>, Error> {
        let mut linker = Command::new(&self.linker);
        linker.args(["--no-entry", "--gc-sections", "-z", "stack-size=65536", "--stack-first"]);
        if !options.debug {
            linker.arg("--strip-all");
        }
        linker.args(objects).arg("-o").arg(module).current_dir(&project.dir);
        let end = attempt(&mut linker, BUILD).map_err(Error::tools)?;
        if !end.succeeded() {
            return Err(Error::Source(format!(
                "it does not link ({}); the only C library is the one in `support/`:\n{}",
                end.reason(),
                end.output.trim_end()
            )));
        }
        fs::read(module).map_err(|error| Error::io(module, &error))
    }
}

/// Writes the bindings for the project's own `wit/`, and into `out` the object file with the type of the world.
fn write_bindings(project: &Project, out: &Path) -> Result<Vec<PathBuf>, Error> {
    let wit = project.wit()?;
    let dir = project.dir.join(BINDINGS);
    fs::create_dir_all(&dir).map_err(|error| Error::io(&dir, &error))?;
    let mut objects = Vec::new();
    for (name, content) in bindings(&wit, project.world).map_err(|error| of_wit(&wit, &error))? {
        let file = if is_object(&name) { out.join(name) } else { dir.join(name) };
        if !fs::read(&file).is_ok_and(|old| old == content) {
            fs::write(&file, content).map_err(|error| Error::io(&file, &error))?;
        }
        objects.extend(Some(file).filter(|file| file.starts_with(out)));
    }
    Ok(objects)
}

fn is_object(name: &str) -> bool {
    Path::new(name).extension() == Some("o".as_ref())
}

fn of_wit(wit: &Path, error: &anyhow::Error) -> Error {
    Error::Project(format!("{} cannot be read as a WIT package: {error:#}", wit.display()))
}

/// The bindings for a new project, so that an editor finds them before the first build.
pub(crate) fn bindings_of(world: World) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let wit = tempfile::tempdir().map_err(|error| Error::io(&std::env::temp_dir(), &error))?;
    for (path, content) in WIT.iter().filter(|(path, _)| path.ends_with(".wit")) {
        let file = wit.path().join(path);
        fs::write(&file, content).map_err(|error| Error::io(&file, &error))?;
    }
    let files = bindings(wit.path(), world).map_err(|error| of_wit(wit.path(), &error))?;
    let texts = files.into_iter().filter(|(name, _)| !is_object(name));
    Ok(texts.map(|(name, content)| (Path::new(BINDINGS).join(name), content)).collect())
}

fn bindings(wit: &Path, world: World) -> Result<Vec<(String, Vec<u8>)>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit)?;
    let world = resolve.select_world(&[package], Some(world.name()))?;
    let mut files = Files::default();
    wit_bindgen_c::Opts::default().build().generate(&mut resolve, world, &mut files)?;
    Ok(files.iter().map(|(name, content)| (name.to_owned(), content.to_vec())).collect())
}

/// A clang for WebAssembly and a linker, installed from Debian's packages if they are missing and that is possible.
pub(crate) fn find() -> Result<CCompiler> {
    let installed = installed();
    let missing = match installed {
        Ok(compiler) => return Ok(compiler),
        Err(missing) => missing,
    };
    if let Some(obstacle) = apt::obstacle() {
        bail!("{missing:#}, and {obstacle}. {}", advice());
    }
    apt::install(&["clang", "lld"]).with_context(advice)?;
    self::installed().with_context(advice)
}

fn installed() -> Result<CCompiler> {
    let clang = candidates("clang").into_iter().find(|clang| knows_webassembly(clang));
    let clang =
        clang.context("a plugin in C needs a clang with the target WebAssembly, which is not installed")?;
    let linker =
        candidates("wasm-ld").into_iter().find(|linker| works(Command::new(linker).arg("--version")));
    let linker = linker.context("a plugin in C needs wasm-ld, which is not installed")?;
    let output = ask(Command::new(&clang).arg("--version")).unwrap_or_default();
    let version = output.lines().next().unwrap_or_default().to_owned();
    Ok(CCompiler { clang, linker, version })
}

/// True if the compiler has the target WebAssembly. Apple's has not.
fn knows_webassembly(clang: &Path) -> bool {
    ask(Command::new(clang).arg("--print-targets")).is_some_and(|targets| targets.contains("wasm32"))
}

/// The possible names and places of a program.
fn candidates(name: &str) -> Vec<PathBuf> {
    let sdk = std::env::var_os("WASI_SDK_PATH").map(|sdk| PathBuf::from(sdk).join("bin").join(name));
    let numbered = (14..=30).rev().map(|version| PathBuf::from(format!("{name}-{version}")));
    let homebrew = [
        "/opt/homebrew/opt/llvm/bin",
        "/opt/homebrew/opt/lld/bin",
        "/usr/local/opt/llvm/bin",
        "/usr/local/opt/lld/bin",
    ];
    let homebrew = homebrew.iter().map(|dir| Path::new(dir).join(name));
    sdk.into_iter().chain([PathBuf::from(name)]).chain(numbered).chain(homebrew).collect()
}

fn advice() -> String {
    "Any of these helps:\n\
     - Debian, Ubuntu: `sudo apt-get install clang lld`\n\
     - Fedora: `sudo dnf install clang lld`\n\
     - macOS: `brew install llvm lld`\n\
     - anywhere: wasi-sdk (https://github.com/WebAssembly/wasi-sdk/releases), with WASI_SDK_PATH set to it"
        .to_owned()
}
