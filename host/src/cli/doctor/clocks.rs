//! The own clock, compared with those of issuers and upstreams.

use super::finding::CheckFinding;
use super::http_probe::ClockReading;

/// The difference from which on it is a warning: half of the usual tolerance for the times in tokens.
const MOST_S: u64 = 30;

pub(super) fn judge(readings: &[ClockReading]) -> Vec<CheckFinding> {
    let (near, far): (Vec<_>, Vec<_>) =
        readings.iter().partition(|reading| reading.ahead_s.unsigned_abs() <= MOST_S);
    let agree = near.len();
    let far = unique(&far);
    // If all servers differ alike, the own clock is probably the wrong one.
    let is_own = agree == 0 && far.len() > 1;
    let mut findings: Vec<_> = far.into_iter().map(|reading| differing(reading, is_own)).collect();
    if findings.is_empty() && agree > 0 {
        findings.push(CheckFinding::pass(format!(
            "this clock and those of the servers differ by {MOST_S} s at most"
        )));
    }
    findings
}

fn unique<'r>(readings: &[&'r ClockReading]) -> Vec<&'r ClockReading> {
    let mut unique: Vec<&ClockReading> = Vec::new();
    for reading in readings {
        if !unique.iter().any(|other| other.server == reading.server) {
            unique.push(reading);
        }
    }
    unique
}

fn differing(reading: &ClockReading, is_own: bool) -> CheckFinding {
    let (seconds, server) = (reading.ahead_s.unsigned_abs(), &reading.server);
    let direction = if reading.ahead_s > 0 { "ahead of" } else { "behind" };
    let fix = match is_own {
        true => "set the clock of this machine (NTP): all servers differ from it",
        false => "synchronise both clocks by NTP; `date -u` shows this one",
    };
    CheckFinding::warn(format!("the clock of {server} is {seconds} s {direction} this one"))
        .because("tokens are refused as expired or not yet valid, and keys and proofs seem too old")
        .fix(fix)
}

#[cfg(test)]
mod tests {
    use super::super::finding::FindingLevel;
    use super::*;

    fn reading(server: &str, ahead_s: i64) -> ClockReading {
        ClockReading { server: server.to_owned(), ahead_s }
    }

    #[test]
    fn a_small_difference_passes() {
        let findings = judge(&[reading("https://a", 30), reading("https://b", -30)]);
        assert_eq!(findings.iter().map(|finding| finding.level).collect::<Vec<_>>(), [FindingLevel::Pass]);
        assert!(judge(&[]).is_empty());
    }

    #[test]
    fn a_large_difference_is_a_warning_once_for_each_server() {
        let findings = judge(&[reading("https://a", 31), reading("https://a", 31), reading("https://b", 0)]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.contains("https://a is 31 s ahead of this one"), "{findings:?}");
        let all = judge(&[reading("https://a", -90), reading("https://b", -91)]);
        assert!(all[0].fix.as_ref().unwrap().contains("this machine"), "{all:?}");
    }
}
