//! The other libraries, each in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use witgate_tests::clients::Clients;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judge {
    PyJwt,
    Jose,
}

impl Judge {
    pub(super) const ALL: [Self; 2] = [Self::PyJwt, Self::Jose];

    /// Its verdicts on the tokens, in their order: "yes", or "no" and why.
    pub(super) fn judge(self, terms: &Value, tokens: &[&str]) -> Vec<String> {
        let clients = Clients::installed().unwrap();
        let (program, script) = match self {
            Self::PyJwt => (clients.python(), "pyjwt.py"),
            Self::Jose => (clients.node(), "jose.mjs"),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("judges").join(script);
        let mut command = Command::new(program);
        command.arg(script).env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let lines: String = std::iter::once(terms.to_string())
            .chain(tokens.iter().map(|token| json!(token).to_string()))
            .map(|line| line + "\n")
            .collect();
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()).unwrap());
        let verdicts: Vec<_> =
            BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success(), "{self:?}");
        assert_eq!(verdicts.len(), tokens.len(), "{self:?}");
        verdicts
    }
}
