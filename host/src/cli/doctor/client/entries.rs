//! The servers in the settings of a client. The formats differ little: a member of servers by name, each with a command
//! or a URL.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast, parse_to_serde_value};
use serde_json::{Map, Value};

use crate::cli::init::client::ClientProgram;
use crate::cli::outcome::CommandFailure;

/// The size of the largest file that is read.
const LARGEST: u64 = 1 << 20;

/// The settings of a client.
pub(super) struct ClientSettings {
    pub(super) file: PathBuf,
    /// The client. None: any that has this format.
    pub(super) program: Option<ClientProgram>,
    pub(super) entries: Vec<ServerEntry>,
}

/// A server in the settings.
pub(super) struct ServerEntry {
    pub(super) name: String,
    /// The line of the name, from 1.
    pub(super) line: usize,
    pub(super) target: EntryTarget,
}

/// The place of a server.
pub(super) enum EntryTarget {
    Command(EntryCommand),
    Url(EntryUrl),
    Unknown,
}

/// A server that the client starts.
pub(super) struct EntryCommand {
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
}

impl EntryCommand {
    /// Program and arguments.
    pub(super) fn line(&self) -> Vec<&str> {
        std::iter::once(&self.program).chain(&self.arguments).map(String::as_str).collect()
    }

    /// The value of an option of the command, as `--name VALUE` or `--name=VALUE`.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let joined = format!("{name}=");
        let mut words = self.arguments.iter().map(String::as_str).take_while(|word| *word != "--");
        while let Some(word) = words.next() {
            if word == name {
                return words.next();
            }
            if let Some(value) = word.strip_prefix(&joined) {
                return Some(value);
            }
        }
        None
    }
}

/// A server that the client calls.
pub(super) struct EntryUrl {
    pub(super) url: String,
    /// The transport, as it is written.
    pub(super) transport: Option<String>,
    pub(super) headers: BTreeMap<String, String>,
    /// Variables for texts with `${NAME}`.
    pub(super) env: BTreeMap<String, String>,
    /// True if a program that the client starts calls the URL.
    pub(super) is_by_proxy: bool,
}

impl ClientSettings {
    /// Reads a file. It may have comments and commas at the end of lists, unless Claude Desktop reads it.
    pub(super) fn read(file: &Path) -> Result<Self, CommandFailure> {
        let shown = file.display();
        let unreadable = |error: io::Error| CommandFailure::new(format!("{shown} cannot be read: {error}"));
        if file.metadata().map_err(unreadable)?.len() > LARGEST {
            return Err(CommandFailure::new(format!(
                "{shown} has more than {LARGEST} bytes; check the path"
            )));
        }
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let by_file = ClientProgram::of_file(file);
        let options = options(by_file != Some(ClientProgram::Claude));
        let whole = parse_to_serde_value::<Value>(&text, &options).map_err(|why| {
            CommandFailure::new(format!(
                "{shown} is not valid JSON, so that the client cannot read it: {why}"
            ))
        })?;
        let named = |name: &'static str| Some((name, whole.get(name)?.as_object()?));
        let (outer, servers) = ["mcpServers", "servers"].into_iter().find_map(named).ok_or_else(|| {
            CommandFailure::new(format!(
                "{shown} names no MCP servers: it has neither `mcpServers` nor `servers` (Visual Studio Code)"
            ))
        })?;
        let is_vscode = outer == "servers";
        let lines = lines(&text, &options, outer);
        let program = by_file.or(is_vscode.then_some(ClientProgram::Vscode));
        let entry = |(name, value): (&String, &Value)| ServerEntry {
            name: name.clone(),
            line: lines.get(name).copied().unwrap_or(1),
            target: target(value),
        };
        Ok(Self { file: file.to_owned(), program, entries: servers.iter().map(entry).collect() })
    }
}

/// The syntax of a file: JSON, and with `has_comments` also comments, and commas at the end of lists.
fn options(has_comments: bool) -> ParseOptions {
    ParseOptions {
        allow_comments: has_comments,
        allow_trailing_commas: has_comments,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

/// The lines of the members of the object `outer`, by their names.
fn lines(text: &str, options: &ParseOptions, outer: &str) -> BTreeMap<String, usize> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), options).ok();
    let root = parsed.as_ref().and_then(|parsed| parsed.value.as_ref()?.as_object());
    let members = root.and_then(|root| root.get_object(outer));
    let line = |at: usize| text.get(..at).unwrap_or_default().matches('\n').count() + 1;
    let members = members.into_iter().flat_map(|members| &members.properties);
    members.map(|member| (member.name.as_str().to_owned(), line(member.range.start))).collect()
}

fn target(value: &Value) -> EntryTarget {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let url = ["url", "serverUrl", "httpUrl"].into_iter().find_map(text);
    match (text("command"), url) {
        (Some(program), _) => of_command(EntryCommand {
            program,
            arguments: texts(value.get("args")),
            env: members(value.get("env")),
        }),
        (None, Some(url)) => EntryTarget::Url(EntryUrl {
            url,
            transport: text("type").or_else(|| text("transport")),
            headers: members(value.get("headers")),
            env: BTreeMap::new(),
            is_by_proxy: false,
        }),
        (None, None) => EntryTarget::Unknown,
    }
}

/// A command, or the URL that `mcp-remote` calls for clients that only start programs.
fn of_command(command: EntryCommand) -> EntryTarget {
    let is_proxy = |word: &String| word.trim_end_matches("@latest").rsplit('/').next() == Some("mcp-remote");
    let Some(place) = command.arguments.iter().position(is_proxy) else {
        return EntryTarget::Command(command);
    };
    let rest = command.arguments.get(place + 1..).unwrap_or_default();
    let Some(url) = rest.iter().find(|word| word.contains("://")) else {
        return EntryTarget::Command(command);
    };
    let headers = rest.windows(2).filter_map(|words| match words {
        [option, header] if option == "--header" => header.split_once(':'),
        _ => None,
    });
    let headers = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    let (url, env) = (url.clone(), command.env.clone());
    EntryTarget::Url(EntryUrl { url, transport: None, headers, env, is_by_proxy: true })
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The members with texts. Clients also take numbers for variables.
fn members(value: Option<&Value>) -> BTreeMap<String, String> {
    let members: Option<&Map<String, Value>> = value.and_then(Value::as_object);
    let text = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Some((name.clone(), text.clone())),
        Value::Number(number) => Some((name.clone(), number.to_string())),
        _ => None,
    };
    members.into_iter().flatten().filter_map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ClientSettings {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mcp.json");
        std::fs::write(&file, text).unwrap();
        ClientSettings::read(&file).unwrap_or_else(|failure| panic!("{failure}"))
    }

    #[test]
    fn a_file_with_comments_has_the_lines_of_its_servers() {
        let settings =
            read("{\n  // \"b\": no server\n  \"servers\": {\n    \"b\": { \"command\": \"x\", },\n  },\n}");
        assert_eq!((settings.entries[0].name.as_str(), settings.entries[0].line), ("b", 2 + 2));
        assert_eq!(settings.program, Some(ClientProgram::Vscode));
    }

    #[test]
    fn claude_desktop_reads_no_comments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("claude_desktop_config.json");
        std::fs::write(&file, "{ // a comment\n \"mcpServers\": {} }").unwrap();
        let refused = ClientSettings::read(&file).err().unwrap();
        assert!(refused.to_string().contains("is not valid JSON"), "{refused}");
    }

    #[test]
    fn the_url_of_mcp_remote_is_that_of_the_server() {
        let settings = read(
            r#"{ "mcpServers": { "a": { "command": "npx", "args": ["-y", "mcp-remote", "https://x/mcp", "--header",
            "X-API-Key:${KEY}"], "env": { "KEY": "k" } } } }"#,
        );
        let EntryTarget::Url(url) = &settings.entries[0].target else { panic!() };
        assert!(url.is_by_proxy && url.url == "https://x/mcp");
        assert_eq!(url.headers["X-API-Key"], "${KEY}");
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let command = |words: &[&str]| EntryCommand {
            program: "witgate".to_owned(),
            arguments: words.iter().map(|&word| word.to_owned()).collect(),
            env: BTreeMap::new(),
        };
        assert_eq!(command(&["serve", "--config", "a"]).option("--config"), Some("a"));
        assert_eq!(command(&["serve", "--config=b"]).option("--config"), Some("b"));
        assert_eq!(command(&["wrap", "--", "--config", "c"]).option("--config"), None);
    }
}
