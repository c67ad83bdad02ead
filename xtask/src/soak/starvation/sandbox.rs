//! A sandbox in which limits bind and affect nobody else. It has a user of its own, since root is exempt from the
//! limit on threads. It has namespaces of its own, so that it can mount a small disk and limit notifications.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::arguments::Arguments;
use witgate_build::process::works;

/// An id that no user has.
const USER: &str = "--reuid=61234";
const GROUP: &str = "--regid=61234";

/// The environment variable that is set inside.
const INSIDE: &str = "WITGATE_STARVING";

/// The programs that the sandbox needs.
const PROGRAMS: [&str; 2] = ["witgate", "plain-upstream"];
const COMPONENTS: [&str; 3] = ["api-key.wasm", "rbac.wasm", "examples/read-only.wasm"];

/// Runs this program again inside the sandbox. None: it is inside already.
pub(super) fn enter(root: &Path, programs: &Path, arguments: &Arguments) -> Result<Option<Result<()>>> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(None);
    }
    let is_root = rustix::process::getuid().is_root();
    let staged = is_root.then(|| stage(root, programs)).transpose()?;
    let stage = staged.as_ref().map(tempfile::TempDir::path);
    let (root, programs) = (stage.unwrap_or(root), stage.unwrap_or(programs));
    let xtask = match stage {
        Some(stage) => stage.join("xtask"),
        None => std::env::current_exe()?,
    };
    let mut within = Vec::new();
    if is_root {
        within.extend(["setpriv", USER, GROUP, "--clear-groups"]);
    }
    let namespaces = ["unshare", "--user", "--map-root-user", "--mount"];
    let with_namespaces: Vec<_> = within.iter().chain(&namespaces).copied().collect();
    if works(command(&with_namespaces).arg("true")) {
        within = with_namespaces;
    }
    let mut inside = command(&within);
    inside.arg(xtask).args(["soak", "--starve", "--root"]).arg(root).arg("--programs").arg(programs);
    inside.args(["--seconds", &arguments.time.as_secs().to_string(), "--seed", &arguments.seed.to_string()]);
    inside.args(["--within", &arguments.within.as_secs().to_string()]);
    inside.args(["--kinds", &arguments.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")]);
    let status = inside.env(INSIDE, "1").status().with_context(|| format!("cannot start {inside:?}"))?;
    Ok(Some(match status.success() {
        true => Ok(()),
        false => Err(anyhow::anyhow!("the soak ended with {status}; its report is above")),
    }))
}

/// A command whose first word is the program. Without words, `env` runs the arguments that are added.
fn command(words: &[&str]) -> Command {
    let (program, arguments) = words.split_first().map_or(("env", words), |(first, rest)| (*first, rest));
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Makes a directory that another user may read, with all programs and components.
fn stage(root: &Path, programs: &Path) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    let put = |from: &Path, name: &str| -> Result<()> {
        let to = directory.path().join(name);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::copy(from, &to).with_context(|| format!("{} is not there", from.display()))?;
        Ok(open(&to)?)
    };
    for name in PROGRAMS {
        put(&programs.join(name), name)?;
    }
    put(&std::env::current_exe()?, "xtask")?;
    for name in COMPONENTS {
        let name = format!("target/plugins/{name}");
        put(&root.join(&name), &name)?;
    }
    open(directory.path())?;
    if !works(Command::new("setpriv").args([USER, GROUP, "--clear-groups", "true"])) {
        bail!("as root this takes setpriv(1) of util-linux, and the right to become another user");
    }
    Ok(directory)
}
