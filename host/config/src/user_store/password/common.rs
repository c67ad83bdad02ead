//! The passwords that are guessed first.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The 10,000 most common ones, in lower case, one on each line. They are the first ones of the list in zxcvbn by Dropbox
/// (MIT), which was counted in passwords that were stolen and published.
const LIST: &str = include_str!("common.txt");

static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| LIST.lines().collect());

/// The most characters that somebody may put around a common password without making it another one.
const MOST_AROUND: usize = 4;

/// The minimum number of different characters.
const FEWEST_DIFFERENT: usize = 4;

/// True if a password is one of the list, or is made of one by capitals, digits for letters, or a few digits and signs
/// around it; or if it repeats few characters.
pub(super) fn is_common(password: &str) -> bool {
    let lower = password.to_lowercase();
    let different: HashSet<_> = lower.chars().collect();
    if different.len() < FEWEST_DIFFERENT || COMMON.contains(&*lower) {
        return true;
    }
    let spelled: String = lower.chars().map(letter_for).collect();
    let is_letter = |c: char| c.is_alphabetic();
    let without_end = lower.trim_end_matches(|c| !is_letter(c));
    let cores = [lower.trim_matches(|c| !is_letter(c)), without_end];
    let cut = |core: &str| lower.chars().count() - core.chars().count();
    let spelled_core: String = without_end.chars().map(letter_for).collect();
    let has_common_core = |core: &str| cut(core) <= MOST_AROUND && COMMON.contains(core);
    COMMON.contains(&*spelled) || cores.into_iter().chain([&*spelled_core]).any(has_common_core)
}

/// The letter for which people write a digit or a sign.
fn letter_for(character: char) -> char {
    match character {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}
