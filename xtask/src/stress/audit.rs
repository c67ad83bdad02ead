//! The gateway's log, read while it is written: it tells which generation decided each call, and whether the decision
//! was right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use super::state::{State, TOOLS, Verdict, can_give};

/// Number of log lines that are kept for finding the cause of a fault.
const KEPT: usize = 40;

/// The log so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audit(Arc<Mutex<Books>>);

#[derive(Debug, Default)]
struct Books {
    /// The last generation that went live.
    live: u64,
    flips: usize,
    refused: usize,
    refusals: BTreeSet<String>,
    /// The possible states of each generation: several if one change made several generations.
    states: BTreeMap<u64, Vec<State>>,
    /// Decisions of generations whose states are not known yet.
    waiting: Vec<Decision>,
    /// Calls that got an answer.
    answered: u64,
    /// The number of each outcome and reason code.
    reasons: BTreeMap<String, u64>,
    wrong: Vec<String>,
    /// Panics of the program: the place, and the message.
    panics: Vec<String>,
    /// True if the next line has the message of a panic.
    panicking: bool,
    tail: VecDeque<String>,
}

#[derive(Debug)]
struct Decision {
    generation: u64,
    tool: String,
    verdict: Verdict,
    line: String,
}

impl Audit {
    /// Reads a log to its end, on a thread of its own. `judged` is the upstream whose calls are compared with the
    /// states.
    pub(crate) fn read(&self, log: impl Read + Send + 'static, judged: &'static str) {
        let audit = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                audit.note(&line, judged);
            }
        });
    }

    /// The generation that went live last.
    pub(crate) fn live(&self) -> u64 {
        self.lock().live
    }

    /// The number of generations that went live, and of candidates that did not.
    pub(crate) fn candidates(&self) -> (usize, usize) {
        let books = self.lock();
        (books.flips, books.refused)
    }

    /// The reasons why candidates did not go live.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.lock().refusals.iter().cloned().collect()
    }

    /// Sets the state of the first generation, which the log does not contain.
    pub(crate) fn name_first(&self, state: State) {
        let mut books = self.lock();
        books.live = books.live.max(1);
        books.states.insert(1, vec![state]);
    }

    /// Sets the states of the generations after `before`: the last of them is `now`.
    pub(crate) fn name(&self, before: u64, was: State, now: State) {
        let mut books = self.lock();
        let live = books.live;
        for generation in before + 1..=live {
            let states = if generation == live { vec![now] } else { vec![was, now] };
            books.states.insert(generation, states);
        }
        let waiting = std::mem::take(&mut books.waiting);
        for decision in waiting {
            books.judge(decision);
        }
    }

    /// The number of answered calls.
    pub(crate) fn answered(&self) -> u64 {
        self.lock().answered
    }

    /// The number of each outcome and reason.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        self.lock().reasons.clone()
    }

    /// Wrong decisions, and decisions of unknown generations.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let books = self.lock();
        let unknown =
            books.waiting.iter().map(|decision| format!("of no known generation: {}", decision.line));
        books.wrong.iter().cloned().chain(unknown).collect()
    }

    /// The last lines that are no audit lines.
    pub(crate) fn tail(&self) -> String {
        self.lock().tail.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    /// The panics of the program: the place and the message of each.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.lock().panics.clone()
    }

    fn note(&self, line: &str, judged: &str) {
        let mut books = self.lock();
        books.note_panic(line);
        let Ok(entry) = serde_json::from_str::<Value>(line) else { return books.keep(line) };
        let text = |name: &str| entry.pointer(&format!("/fields/{name}")).and_then(Value::as_str);
        let generation = entry.pointer("/fields/generation").and_then(Value::as_u64);
        if entry.get("target").and_then(Value::as_str) != Some("witgate::audit") {
            match (text("message").unwrap_or_default(), generation) {
                ("a new generation is live", Some(generation)) => {
                    books.live = generation;
                    books.flips += 1;
                }
                (message, _) if message.contains("the change was not applied") => {
                    books.refused += 1;
                    books.refusals.insert(message.chars().take(300).collect());
                }
                _ => {}
            }
            return books.keep(line);
        }
        let (outcome, reason) = (text("outcome").unwrap_or_default(), text("reason"));
        let found = reason.map_or(outcome.to_owned(), |reason| format!("{outcome}: {reason}"));
        *books.reasons.entry(found).or_default() += 1;
        let tool =
            text("target").and_then(|target| target.rsplit([':', ' ']).next()).unwrap_or_default().to_owned();
        if text("upstream") != Some(judged) || !TOOLS.contains(&tool.as_str()) {
            return;
        }
        books.answered += 1;
        let Some(generation) = generation else { return books.wrong.push(line.to_owned()) };
        let verdict = match (outcome, reason) {
            ("allowed", None) => Verdict::Allowed,
            (_, reason) => Verdict::refused(reason.unwrap_or(outcome)),
        };
        books.judge(Decision { generation, tool, verdict, line: line.to_owned() });
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn judge(&mut self, decision: Decision) {
        match self.states.get(&decision.generation) {
            None => self.waiting.push(decision),
            Some(states) if can_give(states, &decision.tool, &decision.verdict) => {}
            Some(_) => self.wrong.push(decision.line),
        }
    }

    fn note_panic(&mut self, line: &str) {
        if std::mem::take(&mut self.panicking)
            && let Some(last) = self.panics.last_mut()
        {
            last.push_str(": ");
            last.push_str(line);
        }
        if line.starts_with("thread '") && line.contains("panicked at") {
            self.panics.push(line.to_owned());
            self.panicking = true;
        }
    }

    fn keep(&mut self, line: &str) {
        // A message that is logged ten times a second during a shortage.
        let is_repeated = |last: &String| {
            [last.as_str(), line].iter().all(|line| line.contains("cannot accept a connection"))
        };
        if self.tail.back().is_some_and(is_repeated) {
            return;
        }
        if self.tail.len() == KEPT {
            self.tail.pop_front();
        }
        self.tail.push_back(line.to_owned());
    }
}
