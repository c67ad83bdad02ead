//! Variables whose names resemble those that Witgate reads. A misspelt name has no effect, which nobody notices.

use super::Environment;
use crate::diagnostic::Diagnostic;

/// The variables that Witgate reads by a fixed name.
const KNOWN: [&str; 7] = [
    "MCP_API_KEY",
    "MCP_AUTH_ENABLED",
    "MCP_AUTH_HEADER",
    "MCP_BEARER_TOKEN",
    "JWT_SECRET",
    "WITGATE_CACHE",
    "WITGATE_CONFIG",
];

/// The maximum edit distance of a misspelt name. With more, `AWS_API_KEY` would resemble `MCP_API_KEY`.
const NEAR: usize = 2;

impl Environment {
    /// A warning for each variable with a misspelt name. Values are not read.
    pub fn misspelt(&self) -> impl Iterator<Item = (&str, Diagnostic)> {
        self.names().filter_map(|name| {
            let known = self.meant(name)?;
            let message = format!("{name} is set, and Witgate does not read it");
            Some((name, Diagnostic::warning(message).help(format!("did you mean `{known}`?"))))
        })
    }

    /// The known variable that is not set, and that `name` resembles.
    fn meant(&self, name: &str) -> Option<&'static str> {
        let upper = name.to_ascii_uppercase();
        let is_unset = |known: &&&str| !self.has(known) && upper.chars().next() == known.chars().next();
        // The distance takes quadratic time.
        let is_short = |known: &str| name.len() <= known.len() + NEAR;
        let distance = |known: &&'static str| (strsim::damerau_levenshtein(&upper, known), *known);
        let unset = KNOWN.iter().filter(is_unset).filter(|known| is_short(known) && !KNOWN.contains(&name));
        unset.map(distance).filter(|(distance, _)| *distance <= NEAR).min().map(|(_, known)| known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misspelt(names: &[&str]) -> Vec<String> {
        let environment: Environment = names.iter().map(|name| (*name, "the-secret-value")).collect();
        environment.misspelt().map(|(_, fault)| fault.to_string()).collect()
    }

    #[test]
    fn a_misspelt_name_gets_the_nearest_one() {
        for (name, meant) in [
            ("MCP_APIKEY", "MCP_API_KEY"),
            ("mcp_api_key", "MCP_API_KEY"),
            ("MPC_API_KEY", "MCP_API_KEY"),
            ("MCP_AUTH_ENABLE", "MCP_AUTH_ENABLED"),
            ("JWT_SECERT", "JWT_SECRET"),
            ("WITGATE_CONF", "WITGATE_CONFIG"),
        ] {
            let message = format!("{name} is set, and Witgate does not read it (did you mean `{meant}`?)");
            assert_eq!(misspelt(&[name]), [message]);
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        assert_eq!(misspelt(&["AWS_API_KEY", "API_KEY", "PATH", "HOME", "RUST_LOG", ""]), [""; 0]);
        assert_eq!(misspelt(&KNOWN), [""; 0]);
        assert_eq!(misspelt(&["MCP_API_KEY", "MCP_API_KEY_2"]), [""; 0], "the right one is set");
        assert_eq!(misspelt(&["M".repeat(1 << 20).as_str()]), [""; 0]);
    }
}
