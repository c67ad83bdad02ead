//! The gateway's log, read while it is written: under which generation each call was decided, and whether that was
//! right.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;

use super::state::{State, TOOLS, Verdict};

/// Lines that are kept for who has to find out what went wrong.
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
    /// The possible states of each generation: several where more than one came of a change.
    states: BTreeMap<u64, Vec<State>>,
    /// Decisions of generations that nobody has named yet.
    waiting: Vec<Decision>,
    /// Calls that got an answer.
    answered: u64,
    /// Outcomes and reason codes, and how often each was seen.
    reasons: BTreeMap<String, u64>,
    wrong: Vec<String>,
    /// Panics of the program: the place, and the message.
    panics: Vec<String>,
    /// The next line says what.
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
    /// Reads a log to its end, in a thread of its own. `judged` is the upstream whose calls are compared with the
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

    /// Generations that went live, and candidates that did not.
    pub(crate) fn candidates(&self) -> (usize, usize) {
        let books = self.lock();
        (books.flips, books.refused)
    }

    /// The reasons why candidates did not go live.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.lock().refusals.iter().cloned().collect()
    }

    /// Says what the first generation is, of which the log says nothing.
    pub(crate) fn name_first(&self, state: State) {
        let mut books = self.lock();
        books.live = books.live.max(1);
        books.states.insert(1, vec![state]);
    }

    /// Says what the generations after `before` are: the last of them is `now`.
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

    /// Calls that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.lock().answered
    }

    /// The number of each outcome and reason.
    pub(crate) fn reasons(&self) -> BTreeMap<String, u64> {
        self.lock().reasons.clone()
    }

    /// Lines that are wrong, and those of generations that nobody knows.
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

    /// The place of an unknown end of the program, and its message.
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
            Some(states) if states.iter().any(|state| state.verdict(&decision.tool) == decision.verdict) => {}
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
        // Said ten times a second while there are none.
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
