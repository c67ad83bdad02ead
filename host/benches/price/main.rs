//! The price of one request: allocations, instructions, sizes of futures, bytes of a connection.
//!
//! `cargo xtask price` runs it, and compares the figures with `bounds.toml`. `docs/performance.md` has their meaning.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench stops at what is wrong")]
#![expect(clippy::print_stdout, reason = "the figures are its output")]

mod allocations;
mod connections;
#[path = "../hooks/immediate_upstream.rs"]
mod immediate_upstream;
mod proof;
#[expect(dead_code, reason = "the other bench uses the rest")]
#[path = "../hooks/scene.rs"]
mod scene;
mod scenes;
mod sizes;
mod upstreams;

use allocations::{CountingAllocator, Usage};
use scenes::{InstructionCount, SCENES};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Requests before the first one that counts: they fill the caches.
const WARM_UP: usize = 50;

/// Requests that are averaged.
const COUNTED: usize = 200;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("instructions") => instructions(),
        Some("upstream") => upstreams::answer_on_stdio(),
        _ => figures(),
    }
}

/// Prints all figures but the instructions, each as its name, a tab and its value.
fn figures() {
    for (name, make, _) in SCENES {
        let scene = make();
        scene.handle(scene.arrivals(WARM_UP));
        let arrivals = scene.arrivals(COUNTED);
        let before = Usage::now();
        scene.handle(arrivals);
        let spent = Usage::now() - before;
        println!("{name}: allocations\t{}", average(spent.allocations, COUNTED));
        println!("{name}: bytes allocated\t{}", average(spent.bytes, COUNTED));
    }
    for (name, bytes) in sizes::all().into_iter().chain(connections::idle()) {
        println!("{name}\t{bytes}");
    }
}

/// Handles the requests of each scene whose instructions can be counted. Prints for each scene its name, a tab and the
/// number of its requests, in the order in which [`counted`] is called.
fn instructions() {
    for (name, make, count) in SCENES {
        let InstructionCount::Of(count) = count else { continue };
        let scene = make();
        scene.handle(scene.arrivals(count));
        let mut arrivals = scene.arrivals(count);
        counted(&mut || scene.handle(std::mem::take(&mut arrivals)));
        println!("{name}\t{count}");
    }
}

/// Callgrind counts from the call of this function to its return.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

/// The average, rounded to the nearest integer.
fn average(sum: u64, count: usize) -> u64 {
    let count = count as u64;
    (sum + count / 2) / count
}
