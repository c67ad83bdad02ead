//! The user's own server, as the arguments name it.

use std::path::Path;

use url::Url;

use crate::cli::outcome::CommandFailure;
use witgate_base::path::absolute;

/// The options that name the server.
#[derive(Debug, clap::Args)]
pub(super) struct ServerOptions {
    /// Your server: its program and arguments; those that begin with `-` after `--` [default: an example server]
    #[arg(long, value_name = "COMMAND", num_args = 1.., conflicts_with = "url")]
    command: Vec<String>,
    /// Your server: the URL of its Streamable HTTP endpoint
    #[arg(long, value_parser = http_url)]
    url: Option<Url>,
    /// Name of your server, in the configuration and in the client [default: `server`, and `witgate` in the client]
    #[arg(long, value_name = "NAME", value_parser = upstream_name)]
    server_name: Option<String>,
    /// Further arguments of `--command`, or all of the command
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "url")]
    rest: Vec<String>,
}

/// The user's own server.
pub(super) struct OwnServer {
    name: String,
    target: NamedServer,
    /// The arguments that were relative paths.
    made_absolute: Vec<String>,
    /// True if the command was one text.
    is_split: bool,
}

enum NamedServer {
    Command(Vec<String>),
    Url(Url),
}

impl ServerOptions {
    /// The given name.
    pub(super) fn name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// The server. None: the arguments name none.
    pub(super) fn resolve(&self) -> Result<Option<OwnServer>, CommandFailure> {
        let name = self.server_name.clone().unwrap_or_else(|| "server".to_owned());
        if let Some(url) = &self.url {
            let target = NamedServer::Url(url.clone());
            return Ok(Some(OwnServer { name, target, made_absolute: Vec::new(), is_split: false }));
        }
        let mut made_absolute = Vec::new();
        let (words, is_split) = self.words()?;
        let written = words.iter().enumerate();
        let command: Vec<_> = written.map(|(place, text)| full(place, text, &mut made_absolute)).collect();
        match (command.is_empty(), &self.server_name) {
            (false, _) => {
                let target = NamedServer::Command(command);
                Ok(Some(OwnServer { name, target, made_absolute, is_split }))
            }
            (true, None) => Ok(None),
            (true, Some(_)) => Err(CommandFailure::new(
                "`--server-name` is the name of your own server; name the server by `--command` or `--url`",
            )),
        }
    }
}

impl ServerOptions {
    /// The words of the command. True: they were one text, as a shell reads it.
    fn words(&self) -> Result<(Vec<String>, bool), CommandFailure> {
        let words: Vec<_> = self.command.iter().chain(&self.rest).cloned().collect();
        let [line] = words.as_slice() else { return Ok((words, false)) };
        // A program may have a blank in its path.
        if !line.trim().contains(char::is_whitespace) || Path::new(line).is_file() {
            return Ok((words, false));
        }
        match shlex::split(line).filter(|words| !words.is_empty()) {
            Some(words) => Ok((words, true)),
            None => Err(CommandFailure::new(format!(
                "`{line}` is one word, and cannot be split as a shell would: write program and arguments separately, \
                 as in `witgate init -- npx -y some-server`"
            ))),
        }
    }
}

/// The word with its full path, if it is the relative path of a file. Clients start Witgate in another directory.
fn full(place: usize, word: &str, made_absolute: &mut Vec<String>) -> String {
    let path = Path::new(word);
    let is_file = path.is_relative() && !word.starts_with('-') && path.is_file();
    // A program without `/` is looked up on PATH, even if there is a file of its name here.
    match absolute(path).to_str() {
        Some(full) if is_file && (place > 0 || word.contains('/')) => {
            made_absolute.push(word.to_owned());
            full.to_owned()
        }
        _ => word.to_owned(),
    }
}

impl OwnServer {
    /// Its section in the configuration.
    pub(super) fn section(&self) -> String {
        let name = toml_edit::Key::new(self.name.as_str());
        let target = match &self.target {
            NamedServer::Command(command) => {
                let words: toml_edit::Array = command.iter().map(String::as_str).collect();
                format!("command = {}", words.to_string().trim())
            }
            NamedServer::Url(url) => format!("url = {}", toml_edit::Value::from(url.as_str())),
        };
        let secrets = match &self.target {
            NamedServer::Command(_) => {
                "# env = { API_TOKEN = { env = \"API_TOKEN\" } }   # secrets are never in this file"
            }
            NamedServer::Url(_) => {
                "# headers = { Authorization = { env = \"API_TOKEN\", prefix = \"Bearer \" } }   # secrets are never in this file"
            }
        };
        format!("# The MCP server to protect.\n[upstreams.{}]\n{target}\n{secrets}", name.display_repr())
    }

    /// Remarks for the user.
    pub(super) fn notes(&self) -> Vec<String> {
        let moved = self.made_absolute.join(", ");
        let paths = format!(
            "These are written with their full paths, because clients start Witgate elsewhere: {moved}."
        );
        let environment = "The server gets only PATH, HOME and the like from the environment; name what it needs under `env`.";
        let is_command = matches!(self.target, NamedServer::Command(_));
        let split =
            "The command was one word, and is written as separate words, as a shell reads it.".to_owned();
        let paths = (!moved.is_empty()).then_some(paths);
        let query = "The query of the URL is in the configuration, as it is. If it has a secret, send that in `headers`.";
        let has_query = matches!(&self.target, NamedServer::Url(url) if url.query().is_some());
        let notes = [is_command.then_some(environment), has_query.then_some(query)];
        let split = self.is_split.then_some(split);
        split.into_iter().chain(paths).chain(notes.into_iter().flatten().map(str::to_owned)).collect()
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" if url.username().is_empty() && url.password().is_none() => Ok(url),
        "http" | "https" => {
            Err("a user name or a password does not belong into a URL; use `headers`".to_owned())
        }
        _ => Err("write a URL with `http` or `https`".to_owned()),
    }
}

/// The rules are those of `[upstreams.NAME]`.
fn upstream_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = !text.is_empty() && !text.starts_with('.') && text.chars().all(plain);
    fits.then(|| text.to_owned()).ok_or_else(|| "use letters, digits, `-`, `_` and `.`".to_owned())
}
