//! The number that a person compares, over stdio: the client shows it, and the page.

/// A random number with six digits. None: there are no random numbers.
pub(super) fn random() -> Option<Box<str>> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).ok()?;
    // 2^64 is so much larger than a million that all numbers are equally likely.
    Some(format!("{:06}", u64::from_be_bytes(bytes) % 1_000_000).into())
}
