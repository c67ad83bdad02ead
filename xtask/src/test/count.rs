//! How many tests a runner says passed and failed.

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

/// What the runners call a test that did not pass.
const FAILURES: [&str; 3] = ["failed", "timed out", "exec failed"];

impl Count {
    /// Adds up what nextest (`Summary […] 3 tests run: 2 passed (1 slow), 1 failed, 4 skipped`) or cargo
    /// (`test result: ok. 3 passed; 0 failed; …`, once for each binary) say at their ends.
    pub(super) fn read(output: &str) -> Self {
        let mut count = Self::default();
        for line in output.lines() {
            let line = line.trim_start();
            let summary = line.strip_prefix("Summary [").and_then(|rest| rest.split_once("run:"));
            let result = line.strip_prefix("test result:").and_then(|rest| rest.split_once(". "));
            if let Some((_, numbers)) = summary.or(result) {
                count.add(numbers);
            }
        }
        count
    }

    fn add(&mut self, numbers: &str) {
        for part in numbers.split([',', ';']) {
            // A remark in parentheses is about some of those before it: "2 passed (1 slow)".
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

#[cfg(test)]
mod tests {
    use super::Count;

    #[test]
    fn nextest_is_read() {
        let said = "     PASS [ 0.1s] a b\n     Summary [  12.345s] 48 tests run: 44 passed (1 slow, 2 flaky), 2 failed, 1 timed out, 1 exec failed, 3 skipped\n";
        assert_eq!(Count::read(said), Count { passed: 44, failed: 4 });
        let said = "     Summary [   0.010s] 2/9 tests run: 1 passed, 1 failed, 0 skipped";
        assert_eq!(Count::read(said), Count { passed: 1, failed: 1 });
    }

    #[test]
    fn cargo_is_read() {
        let said = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Count::read(said), Count { passed: 4, failed: 2 });
    }

    #[test]
    fn what_a_test_prints_is_no_result() {
        assert_eq!(Count::read("it said 3 passed, 4 failed\nSummary: 5 passed"), Count::default());
    }
}
