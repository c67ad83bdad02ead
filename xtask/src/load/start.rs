//! The time from the start of the process to the first answered call.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::call::{self, RequestKind};
use super::median::median;
use super::scene::Installation;
use crate::servers::Server;

/// Number of measured starts. The very first start compiles the components and is not measured.
const STARTS: usize = 11;

/// Time limit for a start: four components are compiled on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pause before the next attempt: short in comparison with a start.
const GLANCE: Duration = Duration::from_micros(200);

/// The median time, in milliseconds.
pub(super) fn measure(installation: &Installation) -> Result<f64> {
    once(installation)?;
    let times = (0..STARTS).map(|_| once(installation)).collect::<Result<Vec<_>>>()?;
    Ok(median(times.into_iter().map(|time| time.as_secs_f64() * 1e3)))
}

fn once(installation: &Installation) -> Result<Duration> {
    let begin = Instant::now();
    let _gateway = answering(installation)?;
    Ok(begin.elapsed())
}

/// Starts Witgate and returns once it has answered a call.
pub(super) fn answering(installation: &Installation) -> Result<Server> {
    let begin = Instant::now();
    let mut gateway = installation.gateway()?;
    while begin.elapsed() < PATIENCE && !gateway.has_ended() {
        let answered = call::once(RequestKind::Call, &installation.address, "/key", Some(&installation.key));
        if answered.is_ok_and(|response| call::is_answer(&response)) {
            return Ok(gateway);
        }
        thread::sleep(GLANCE);
    }
    bail!("witgate does not answer:\n{}", installation.log_text())
}
