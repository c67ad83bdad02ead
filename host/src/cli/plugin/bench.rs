//! `witgate plugin bench`: measures the cost of a component, and of a built-in check of the host beside it.

mod arguments;
mod sample;
mod scene;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::sample::Samples;
use self::scene::{BenchQuestion, Scene};
use crate::cli::context::Context;
use crate::cli::outcome::{CommandFailure, Exit};
use crate::cli::runtime::runtime;
use crate::cli::terminal::table;

pub(in crate::cli) use self::arguments::Arguments;

/// Time to spend on each measurement, once there are enough batches for a median.
const LONG_ENOUGH: Duration = Duration::from_secs(3);
/// The fewest repetitions of the slow measurements.
const COLD: usize = 5;
/// Batches of warm hooks.
const BATCHES: u32 = 60;
/// Hooks before the measurement: they make instances, fill the caches, and determine the size of a batch.
const FIRST: u32 = 200;
/// The smallest and the largest size of a batch.
const BATCH: (f64, f64) = (10.0, 20_000.0);

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<Exit, CommandFailure> {
    let scene = Scene::new(arguments)?;
    let report = runtime()?.block_on(measure(&scene))?;
    match context.terminal.is_json() {
        true => context.terminal.print_json(&report.json()),
        false => context.terminal.print(&report.text()),
    }
    Ok(Exit::Done)
}

/// The measurements. Times are in microseconds.
struct BenchReport {
    component: String,
    threads: usize,
    compile: Samples,
    make: Samples,
    /// The component's hook, and the native one.
    warm: [WarmSamples; 2],
    memory: usize,
}

struct WarmSamples {
    name: &'static str,
    latency: Samples,
    /// Hooks per second.
    one: Samples,
    all: Samples,
}

async fn measure(scene: &Scene) -> Result<BenchReport, CommandFailure> {
    let compile = cold(async || scene.compile().await).await?;
    let loader = scene.loader().await?;
    let make = cold(async || scene.component(&loader).await.map(drop)).await?;
    let component = Arc::new(scene.asking(scene.component(&loader).await?));
    let native = Arc::new(scene.asking_native(scene.native(&loader).await?));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let warm = [warm("component", &component, threads).await?, warm("native", &native, threads).await?];
    let memory = component.memory();
    Ok(BenchReport { component: scene.path().display().to_string(), threads, compile, make, warm, memory })
}

/// Measures slow work, one repetition after the other.
async fn cold(mut work: impl AsyncFnMut() -> Result<(), CommandFailure>) -> Result<Samples, CommandFailure> {
    let (mut samples, started) = (Samples::default(), Instant::now());
    while samples.len() < COLD || (started.elapsed() < LONG_ENOUGH && samples.len() < BATCHES as usize) {
        let each = Instant::now();
        work().await?;
        samples.add(micros(each.elapsed()));
    }
    Ok(samples)
}

async fn warm(
    name: &'static str,
    asking: &Arc<BenchQuestion>,
    threads: usize,
) -> Result<WarmSamples, CommandFailure> {
    let size = size(batch(asking, FIRST, None).await?);
    let (mut latency, mut one, mut all) = (Samples::default(), Samples::default(), Samples::default());
    for _ in 0..BATCHES {
        one.add(f64::from(size) / batch(asking, size, Some(&mut latency)).await?.as_secs_f64());
    }
    for _ in 0..BATCHES {
        let started = Instant::now();
        let at_once = (0..threads).map(|_| {
            let asking = Arc::clone(asking);
            tokio::spawn(async move { batch(&asking, size, None).await })
        });
        let at_once: Vec<_> = at_once.collect();
        for each in at_once {
            each.await.map_err(|error| CommandFailure::new(error.to_string()))??;
        }
        let hooks = f64::from(size) * f64::from(u32::try_from(threads).unwrap_or(1));
        all.add(hooks / started.elapsed().as_secs_f64());
    }
    Ok(WarmSamples { name, latency, one, all })
}

/// The number of hooks in a batch: large enough that neither the resolution of the clock nor the start of a thread
/// shows.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is within the bounds of a batch"
)]
fn size(first: Duration) -> u32 {
    let each = first.as_secs_f64() / f64::from(FIRST);
    let (fewest, most) = BATCH;
    ((LONG_ENOUGH / BATCHES).as_secs_f64() / each).clamp(fewest, most) as u32
}

/// Runs a batch of hooks, and returns the time that it took.
async fn batch(
    asking: &BenchQuestion,
    size: u32,
    mut latency: Option<&mut Samples>,
) -> Result<Duration, CommandFailure> {
    let started = Instant::now();
    for _ in 0..size {
        let each = Instant::now();
        asking.ask().await?;
        if let Some(latency) = &mut latency {
            latency.add(micros(each.elapsed()));
        }
    }
    Ok(started.elapsed())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl BenchReport {
    fn json(&self) -> Value {
        let warm = self.warm.iter().map(|warm| {
            let value = json!({
                "latency_us": warm.latency.json(),
                "per_second_on_one_thread": warm.one.json(),
                "per_second_on_all_threads": warm.all.json(),
            });
            (warm.name.to_owned(), value)
        });
        json!({
            "component": self.component,
            "threads": self.threads,
            "cold": { "compile_us": self.compile.json(), "make_us": self.make.json() },
            "warm": warm.collect::<serde_json::Map<_, _>>(),
            "memory_per_instance": self.memory,
        })
    }

    fn text(&self) -> String {
        let mut rows = vec![
            row("compile", "ms", &self.compile, 1e3),
            row("describe, configure, first instance", "ms", &self.make, 1e3),
        ];
        for warm in &self.warm {
            rows.push(row(&format!("a hook, {}", warm.name), "µs", &warm.latency, 1.0));
        }
        for warm in &self.warm {
            rows.push(row(&format!("hooks per second, {}, one thread", warm.name), "", &warm.one, 1.0));
            let all = format!("hooks per second, {}, {} threads", warm.name, self.threads);
            rows.push(row(&all, "", &warm.all, 1.0));
        }
        format!(
            "{}\n\n{}\n\nmemory of an instance: {} KiB\nThe intervals are of the median, with 95 % confidence, by bootstrap. \
             Native is the built-in `rbac` with one rule, asked in the same way.",
            self.component,
            table(&["WHAT", "UNIT", "MEDIAN", "FROM", "TO", "P99", "SAMPLES"], &rows),
            self.memory.div_ceil(1024),
        )
    }
}

fn row(what: &str, unit: &str, samples: &Samples, per: f64) -> Vec<String> {
    let (from, to) = samples.interval();
    let number = |value: f64| format!("{:.1}", value / per);
    let numbers = [samples.quantile(0.5), from, to, samples.quantile(0.99)].map(number);
    [what.to_owned(), unit.to_owned()].into_iter().chain(numbers).chain([samples.len().to_string()]).collect()
}
