//! The settings of MCP clients.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A client that starts Witgate over stdio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ClientProgram {
    /// Claude Desktop
    Claude,
    /// Cursor
    Cursor,
    /// Visual Studio Code
    Vscode,
    /// Kiro
    Kiro,
}

/// An entry in the settings of a client.
pub(super) struct ClientEntry<'a> {
    /// The name of the server in the client.
    pub(super) name: &'a str,
    /// The path of Witgate's program.
    pub(super) program: &'a Path,
    /// The path of the configuration.
    pub(super) config: &'a Path,
    /// The text of the key. None: the person has it.
    pub(super) key: Option<&'a str>,
}

/// The file of Claude Desktop, in the directory of a user.
const CLAUDE: &[&str] = &[
    "Library/Application Support/Claude/claude_desktop_config.json",
    ".config/Claude/claude_desktop_config.json",
];

/// The file of Visual Studio Code, in the directory of a user.
const VSCODE: &[&str] = &["Library/Application Support/Code/User/mcp.json", ".config/Code/User/mcp.json"];

/// The place of a key that only the person has.
const PLACEHOLDER: &str = "the key";

impl ClientProgram {
    /// Its name for people.
    pub(in crate::cli) fn title(self) -> &'static str {
        match self {
            Self::Claude => "Claude Desktop",
            Self::Cursor => "Cursor",
            Self::Vscode => "Visual Studio Code",
            Self::Kiro => "Kiro",
        }
    }

    /// The default name of its key.
    pub(super) fn key_name(self) -> &'static str {
        match self {
            Self::Claude => "claude-desktop",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Kiro => "kiro",
        }
    }

    /// The file for its settings.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Claude if cfg!(target_os = "macos") => {
                "~/Library/Application Support/Claude/claude_desktop_config.json"
            }
            Self::Claude => "~/.config/Claude/claude_desktop_config.json",
            Self::Cursor => ".cursor/mcp.json in the project, or ~/.cursor/mcp.json",
            Self::Vscode => ".vscode/mcp.json in the workspace",
            Self::Kiro => ".kiro/settings/mcp.json in the project, or ~/.kiro/settings/mcp.json",
        }
    }

    /// The files for its settings, in the order in which they count: that of a project in the current directory, and
    /// those of the user whose directory is `home`.
    pub(in crate::cli) fn files(self, home: Option<&Path>) -> Vec<PathBuf> {
        let (of_project, of_user): (Option<&str>, &[&str]) = match self {
            Self::Claude => (None, CLAUDE),
            Self::Cursor => (Some(".cursor/mcp.json"), &[".cursor/mcp.json"]),
            Self::Vscode => (Some(".vscode/mcp.json"), VSCODE),
            Self::Kiro => (Some(".kiro/settings/mcp.json"), &[".kiro/settings/mcp.json"]),
        };
        let of_user = of_user.iter().filter_map(|file| Some(home?.join(file)));
        of_project.map(PathBuf::from).into_iter().chain(of_user).collect()
    }

    /// The client that reads a file with this path. None: several do, or none.
    pub(in crate::cli) fn of_file(path: &Path) -> Option<Self> {
        let has = |name: &str| path.iter().any(|part| part == name);
        [
            (Self::Claude, "claude_desktop_config.json"),
            (Self::Cursor, ".cursor"),
            (Self::Vscode, ".vscode"),
            (Self::Kiro, ".kiro"),
        ]
        .into_iter()
        .find_map(|(client, name)| has(name).then_some(client))
    }

    /// The file in a project that contains the key.
    pub(super) fn file_with_key(self) -> Option<&'static str> {
        match self {
            Self::Cursor => Some(".cursor/mcp.json"),
            Self::Kiro => Some(".kiro/settings/mcp.json"),
            // The first has no file in a project, the second asks for the key.
            Self::Claude | Self::Vscode => None,
        }
    }

    /// A remark about the settings.
    pub(super) fn note(self) -> Option<&'static str> {
        let note =
            "Visual Studio Code asks for the key at the first start, and keeps it outside of the workspace.";
        (self == Self::Vscode).then_some(note)
    }

    /// Its settings, written by hand in the order in which people write them.
    pub(super) fn settings(self, entry: &ClientEntry<'_>) -> String {
        let name = json!(entry.name);
        let inner = self.inner(entry);
        match self {
            Self::Claude | Self::Cursor | Self::Kiro => {
                format!("{{\n  \"mcpServers\": {{\n    {name}: {{\n{inner}\n    }}\n  }}\n}}")
            }
            Self::Vscode => {
                let input = json!(format!("API key of the MCP server {}", entry.name));
                format!(
                    "{{\n  \"inputs\": [\n    {{ \"type\": \"promptString\", \"id\": \"witgate-key\", \"description\": \
                     {input}, \"password\": true }}\n  ],\n  \"servers\": {{\n    {name}: {{\n{inner}\n    }}\n  }}\n}}"
                )
            }
        }
    }

    /// The same for programs.
    pub(super) fn settings_json(self, entry: &ClientEntry<'_>) -> Value {
        serde_json::from_str(&self.settings(entry)).unwrap_or_default()
    }

    fn inner(self, entry: &ClientEntry<'_>) -> String {
        let key = match self {
            Self::Vscode => "${input:witgate-key}",
            _ => entry.key.unwrap_or(PLACEHOLDER),
        };
        let common = format!(
            "      \"command\": {},\n      \"args\": [\"serve\", \"--transport\", \"stdio\", \"--config\", {}],\n      \
             \"env\": {{ \"MCP_API_KEY\": {} }}",
            json!(entry.program),
            json!(entry.config),
            json!(key)
        );
        match self {
            Self::Claude | Self::Cursor => common,
            Self::Vscode => format!("      \"type\": \"stdio\",\n{common}"),
            Self::Kiro => format!("{common},\n      \"disabled\": false,\n      \"autoApprove\": []"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_its_own_shape() {
        let (program, config) = (Path::new("/opt/a \"b\"/witgate"), Path::new("/home/me/witgate.toml"));
        let entry = ClientEntry { name: "in\"st", program, config, key: Some("wgk_1") };
        let server =
            |client: ClientProgram, outer: &str| client.settings_json(&entry)[outer]["in\"st"].clone();
        let args = json!(["serve", "--transport", "stdio", "--config", "/home/me/witgate.toml"]);
        for client in [ClientProgram::Claude, ClientProgram::Cursor, ClientProgram::Kiro] {
            let server = server(client, "mcpServers");
            assert_eq!((&server["command"], &server["args"]), (&json!(program), &args), "{client:?}");
            assert_eq!(server["env"], json!({ "MCP_API_KEY": "wgk_1" }));
        }
        assert_eq!(server(ClientProgram::Kiro, "mcpServers")["disabled"], json!(false));
        let vscode = ClientProgram::Vscode.settings(&entry);
        assert!(!vscode.contains("wgk_1"), "the file is often in version control: {vscode}");
        let id = &ClientProgram::Vscode.settings_json(&entry)["inputs"][0]["id"];
        let server = server(ClientProgram::Vscode, "servers");
        assert_eq!((&server["type"], &server["args"]), (&json!("stdio"), &args));
        assert_eq!(server["env"]["MCP_API_KEY"], json!(format!("${{input:{}}}", id.as_str().unwrap())));
    }
}
