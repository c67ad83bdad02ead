//! The numbers of passed and failed tests in a runner's output.

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

/// The words of the runners for a test that did not pass.
const FAILURES: [&str; 3] = ["failed", "timed out", "exec failed"];

impl Count {
    /// Reads the numbers at the end of a run of nextest
    /// (`Summary […] 3 tests run: 2 passed (1 slow), 1 failed, 4 skipped`) or of cargo
    /// (`test result: ok. 3 passed; 0 failed; …`, once for each binary).
    ///
    /// Nextest also shows the output of a failed attempt, which contains a `test result` of its own. So if there is a
    /// summary, only the summary counts.
    pub(super) fn read(output: &str) -> Self {
        let mut count = Self::default();
        if let Some(numbers) = output.lines().rev().find_map(summary) {
            count.add(numbers);
            return count;
        }
        for numbers in output.lines().filter_map(result) {
            count.add(numbers);
        }
        count
    }

    fn add(&mut self, numbers: &str) {
        for part in numbers.split([',', ';']) {
            // A remark in parentheses is about a part of the number before it: "2 passed (1 slow)".
            let part = part.split('(').next().unwrap_or_default();
            let Some((number, what)) = part.trim().split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match what.trim() {
                "passed" => self.passed += number,
                what if FAILURES.contains(&what) => self.failed += number,
                _ => {}
            }
        }
    }
}

/// The numbers in the summary of nextest.
fn summary(line: &str) -> Option<&str> {
    Some(line.trim_start().strip_prefix("Summary [")?.split_once("run:")?.1)
}

/// The numbers at the end of a test binary that cargo ran.
fn result(line: &str) -> Option<&str> {
    Some(line.trim_start().strip_prefix("test result:")?.split_once(". ")?.1)
}

/// The lines of nextest's output about tests that failed, or passed only at a later attempt.
pub(super) fn trouble(output: &str) -> Vec<&str> {
    let after_summary = output.lines().skip_while(|line| summary(line).is_none()).skip(1);
    after_summary.map(str::trim).filter(|line| line.contains(" [")).collect()
}

/// The slowest tests in nextest's output (`PASS [ 5.927s] (450/511) package name`), the slowest first.
pub(super) fn slowest(output: &str, most: usize) -> Vec<String> {
    let mut tests: Vec<_> = output.lines().filter_map(passed).collect();
    tests.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    tests.truncate(most);
    tests.into_iter().map(|(seconds, name)| format!("{seconds:7.1} s  {name}")).collect()
}

/// The seconds and the name of a test that passed.
fn passed(line: &str) -> Option<(f64, &str)> {
    let (time, rest) = line.split_once("PASS [")?.1.split_once("s]")?;
    let name = rest.rsplit_once(") ").map_or(rest, |(_, name)| name);
    Some((time.trim().parse().ok()?, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::{Count, slowest, trouble};

    #[test]
    fn the_slowest_tests_come_first() {
        let said = "        PASS [   0.008s] (1/3) a b::c\n        PASS [  12.500s] (2/3) d e\n  TRY 2 PASS [   1.000s] (3/3) f g\n        FAIL [  99.000s] (3/3) h i\n";
        assert_eq!(slowest(said, 2), ["   12.5 s  d e", "    1.0 s  f g"]);
    }

    #[test]
    fn the_output_of_nextest_is_read() {
        let said = "     PASS [ 0.1s] a b\n     Summary [  12.345s] 48 tests run: 44 passed (1 slow, 2 flaky), 2 failed, 1 timed out, 1 exec failed, 3 skipped\n";
        assert_eq!(Count::read(said), Count { passed: 44, failed: 4 });
        let said = "     Summary [   0.010s] 2/9 tests run: 1 passed, 1 failed, 0 skipped";
        assert_eq!(Count::read(said), Count { passed: 1, failed: 1 });
    }

    #[test]
    fn the_output_of_cargo_is_read() {
        let said = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Count::read(said), Count { passed: 4, failed: 2 });
    }

    #[test]
    fn a_failed_attempt_before_a_passed_one_is_no_failure() {
        let said = "  TRY 1 FAIL [   2.0s] witgate-tests::it a::b\n    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out\n  TRY 2 PASS [   1.0s] witgate-tests::it a::b\n     Summary [  12.345s] 48 tests run: 48 passed (1 flaky), 3 skipped\n   FLAKY 2/2 [   1.0s] witgate-tests::it a::b\n";
        assert_eq!(Count::read(said), Count { passed: 48, failed: 0 });
        assert_eq!(trouble(said), ["FLAKY 2/2 [   1.0s] witgate-tests::it a::b"]);
    }

    #[test]
    fn the_output_of_a_test_is_no_result() {
        assert_eq!(Count::read("it said 3 passed, 4 failed\nSummary: 5 passed"), Count::default());
    }
}
