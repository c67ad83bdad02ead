//! The report of a run as JSON.

use serde_json::{Value, json};

use super::comparison::Difference;
use super::coverage::Coverage;
use super::play::{PlayResult, PlayedCase};
use super::report;
use witgate_cases::OutcomeText as _;
use witgate_cases::{Finding, StepReport};

pub(super) fn report(played: &PlayResult) -> Value {
    let failed = played.cases.iter().filter(|case| !case.report.passed()).count();
    let differ = played.cases.iter().filter(|case| !case.differences.is_empty()).count();
    json!({
        "ok": played.passed(),
        "passed": played.cases.len() - failed,
        "failed": failed,
        "differ": differ,
        "coverage": Coverage::of(&played.cases).json(),
        "cases": played.cases.iter().map(case).collect::<Vec<_>>(),
    })
}

fn case(played: &PlayedCase) -> Value {
    let PlayedCase { file, report, differences, .. } = played;
    json!({
        "file": file,
        "line": report.line,
        "name": report.name,
        "passed": report.passed(),
        "findings": findings(&report.findings),
        "steps": report.steps.iter().map(step).collect::<Vec<_>>(),
        "differences": differences.iter().map(difference).collect::<Vec<_>>(),
    })
}

fn step(step: &StepReport) -> Value {
    let asked = &step.asked;
    let observed = &asked.observed;
    let log = observed.log().map(|(level, line)| json!({ "level": report::level_name(level), "line": line }));
    json!({
        "answer": asked.outcome.written(),
        "detail": asked.outcome.detail(),
        "guest_ms": observed.ticks,
        "wall_us": u64::try_from(asked.wall.as_micros()).unwrap_or(u64::MAX),
        "memory_bytes": observed.memory,
        "host_calls": observed.host_calls,
        "log": log.collect::<Vec<_>>(),
        "findings": findings(&step.findings),
    })
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    let finding_json = |it: &Finding| json!({ "what": it.what, "expected": it.expected, "found": it.found });
    findings.iter().map(finding_json).collect()
}

fn difference(difference: &Difference) -> Value {
    json!({ "step": difference.step, "own": difference.own, "other": difference.other })
}
