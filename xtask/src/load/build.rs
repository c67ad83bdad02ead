//! The release builds that are measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use witgate_build::cargo::cargo;
use witgate_build::process::run;

/// Time limit for a build: the release profile links everything as one piece.
const BUILD: Duration = Duration::from_secs(3600);

/// Time limit for a command of git that copies a tree.
const CHECKOUT: Duration = Duration::from_secs(60);

/// The programs that are measured.
pub(super) struct Programs {
    /// The gateway.
    pub(super) gateway: PathBuf,
    /// The folder of the upstreams and the proxy.
    pub(super) others: PathBuf,
}

impl Programs {
    /// Builds this tree, but for a gateway that is given.
    pub(super) fn build(root: &Path, given: Option<&Path>) -> Result<Self> {
        let gateway = match given {
            Some(gateway) => gateway.canonicalize().with_context(|| gateway.display().to_string())?,
            None => {
                eprintln!("load: building for release");
                gateway(root, &root.join("target"))?;
                root.join("target/release/witgate")
            }
        };
        Ok(Self { gateway, others: others(root)? })
    }
}

/// Builds the upstreams and the proxy of this tree, and returns their folder.
pub(super) fn others(root: &Path) -> Result<PathBuf> {
    let mut others = cargo();
    others.args(["build", "--release", "--locked", "-p", "witgate-tests", "--bins"]).current_dir(root);
    run(&mut others, BUILD)?;
    Ok(root.join("target/release"))
}

/// Builds the gateway of another commit, once, and returns the program.
pub(super) fn revision(root: &Path, revision: &str) -> Result<PathBuf> {
    let commit = commit(root, revision)?;
    let builds = root.join("target/against");
    let program = builds.join(format!("witgate-{commit}"));
    if program.exists() {
        return Ok(program);
    }
    eprintln!("load: building {commit} for release");
    fs::create_dir_all(&builds)?;
    let tree = builds.join("tree");
    remove(root, &tree);
    let mut add = git(root);
    add.args(["worktree", "add", "--force", "--detach"]).arg(&tree).arg(&commit);
    run(&mut add, CHECKOUT)?;
    let target = builds.join("target");
    let built = gateway(&tree, &target);
    remove(root, &tree);
    built?;
    fs::copy(target.join("release/witgate"), &program)?;
    Ok(program)
}

/// Builds the gateway alone, so that no other package changes the features of its dependencies.
fn gateway(tree: &Path, target: &Path) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release", "--locked", "-p", "witgate", "--bin", "witgate"]);
    build.arg("--target-dir").arg(target).current_dir(tree);
    run(&mut build, BUILD)?;
    Ok(())
}

fn commit(root: &Path, revision: &str) -> Result<String> {
    let mut parse = git(root);
    parse.args(["rev-parse", "--verify", "--short=12", &format!("{revision}^{{commit}}")]);
    let commit = run(&mut parse, CHECKOUT).with_context(|| format!("`{revision}` is no commit"))?;
    Ok(commit.trim().to_owned())
}

fn remove(root: &Path, tree: &Path) {
    let mut remove = git(root);
    remove.args(["worktree", "remove", "--force"]).arg(tree);
    let _ = run(&mut remove, CHECKOUT);
}

fn git(root: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(root);
    command
}
