//! The change that was refused because of new access, and the one that an operator has allowed.

use witgate_base::digest::digest_text;
use witgate_policy::generation::Recipe;

/// The length of the name of a change, in hexadecimal digits. Nobody makes another change with the same name.
const NAME: usize = 32;

/// The candidate that was refused because of new access, and the one that an operator has allowed.
#[derive(Debug, Default)]
pub(super) struct ChangeAllowance {
    refused: Option<Recipe>,
    allowed: Option<Recipe>,
}

impl ChangeAllowance {
    /// Notes a refused candidate, and returns its name.
    pub(super) fn refuse(&mut self, candidate: &Recipe) -> String {
        *self = Self { refused: Some(candidate.clone()), allowed: None };
        name(candidate)
    }

    /// Allows the refused candidate.
    ///
    /// # Errors
    /// If none was refused, or one of another name.
    pub(super) fn allow(&mut self, change: &str) -> Result<(), String> {
        let Some(refused) = &self.refused else {
            return Err("no change waits that was refused because of new access".to_owned());
        };
        let waiting = name(refused);
        if waiting != change {
            let why = "`witgate plugin list` says what it is";
            return Err(format!("the change that waits is not `{change}`, but `{waiting}`; {why}"));
        }
        self.allowed = self.refused.take();
        Ok(())
    }

    /// True if an operator has allowed a candidate that is not live yet.
    pub(super) fn is_open(&self) -> bool {
        self.allowed.is_some()
    }

    /// True, once, for the candidate that an operator has allowed.
    pub(super) fn take(&mut self, candidate: &Recipe) -> bool {
        let is_allowed = self.allowed.as_ref() == Some(candidate);
        if is_allowed {
            self.allowed = None;
        }
        is_allowed
    }
}

/// The name of a change: the first digits of the digest of its recipe.
fn name(recipe: &Recipe) -> String {
    let digest = digest_text(&recipe.digest());
    digest.trim_start_matches("sha256:").chars().take(NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_allowed_by_its_name_and_once() {
        let (one, other) = (Recipe::new("a = 1"), Recipe::new("a = 2"));
        let mut allowance = ChangeAllowance::default();
        assert!(allowance.allow(&name(&one)).unwrap_err().contains("no change waits"));
        let seen = allowance.refuse(&one);
        assert_eq!(seen, name(&one));
        let written_since = allowance.refuse(&other);
        assert!(allowance.allow(&seen).unwrap_err().contains(&written_since));
        assert!(!allowance.is_open() && !allowance.take(&one) && !allowance.take(&other));
        allowance.allow(&written_since).unwrap();
        assert!(allowance.is_open() && !allowance.take(&one));
        assert!(allowance.take(&other) && !allowance.take(&other));
    }
}
