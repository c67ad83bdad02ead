//! One run of wrk against one place.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::cores::Cores;
use super::places::Place;
use crate::servers::processor_time;
use witgate_build::process::run;

/// Numbers of connections at once: one for the latency of one caller, and more for the capacity of the machine.
pub(super) const CONNECTIONS: [u32; 2] = [1, 32];

/// The figures of one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) per_second: f64,
    /// Latencies, in microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Processor time of the server per request, in microseconds.
    pub(super) cpu: f64,
}

/// Runs wrk against one place.
///
/// One call in a hundred may fail, because on a busy machine a hook may exceed its time limit. Such failures are
/// printed; more of them are a fault.
pub(super) fn measure(place: &Place, connections: u32, seconds: u32, cores: Cores) -> Result<Figures> {
    let figures = called(place, connections, seconds, cores).with_context(|| place.name.to_owned())?;
    let Figures { errors, requests, .. } = figures;
    let message = format!("{}: {errors} of {requests} calls failed", place.name.trim());
    if errors * 100 > requests {
        bail!(message);
    }
    if errors > 0 {
        eprintln!("load: {message}");
    }
    Ok(figures)
}

fn called(place: &Place, connections: u32, seconds: u32, cores: Cores) -> Result<Figures> {
    let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
    script.write_all(lua(place).as_bytes())?;
    let before = processor_time(place.process)?;
    let mut wrk = cores.rest("wrk");
    wrk.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"]).arg(script.path());
    wrk.arg(format!("http://{}{}", place.address, place.path));
    let output = run(&mut wrk, Duration::from_secs(u64::from(seconds) + 30))?;
    let processor_s = processor_time(place.process)? - before;
    read(&output, processor_s).with_context(|| format!("wrk said:\n{output}"))
}

fn lua(place: &Place) -> String {
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let headers = place.request.headers().map(owned).chain(place.credential.clone());
    let headers: String =
        headers.map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect();
    let body = place.request.body();
    format!(
        r#"wrk.method = "POST"
wrk.body = [[{body}]]
{headers}
done = function(summary, latency)
  local e = summary.errors
  local errors = e.connect + e.read + e.write + e.status + e.timeout
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  print(string.format("FIGURES %d %d %d %d %d", summary.requests, errors, summary.duration, p50, p99))
end
"#
    )
}

fn read(output: &str, processor_time: Duration) -> Option<Figures> {
    let line = output.lines().find_map(|line| line.strip_prefix("FIGURES "))?;
    let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [requests, errors, duration, p50, p99] = *numbers.as_slice() else { return None };
    let micros = processor_time.as_secs_f64() * 1e6;
    Some(Figures {
        requests: requests.into(),
        errors: errors.into(),
        per_second: f64::from(requests) / f64::from(duration) * 1e6,
        p50: p50.into(),
        p99: p99.into(),
        cpu: micros / f64::from(requests),
    })
}
