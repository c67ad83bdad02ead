//! `[lint]`.

use super::resolver::Resolver;
use crate::lint::{LintCode, LintException};
use crate::raw::Lint;
use crate::shape::{listed, nearest};

impl Resolver<'_> {
    /// The accepted findings. An unknown code is only a warning, because no call depends on it.
    pub(super) fn lint_exceptions(&mut self, written: &Lint) -> Vec<LintException> {
        let mut exceptions = Vec::new();
        for (index, text) in written.allow.iter().enumerate() {
            let (code, name) = match text.split_once(':') {
                Some((code, name)) => (code, Some(name.to_owned())),
                None => (text.as_str(), None),
            };
            match LintCode::of(code) {
                Some(code) => exceptions.push(LintException { code, name }),
                None => self.unknown_lint(index, code),
            }
        }
        exceptions
    }

    fn unknown_lint(&mut self, index: usize, code: &str) {
        let known = LintCode::ALL.map(LintCode::name);
        let help = match nearest(code, known.into_iter()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("lints are {}", listed(&known)),
        };
        let at = ["lint", "allow", &index.to_string()];
        self.warning(&at, format!("there is no lint `{code}`"), help);
    }
}
