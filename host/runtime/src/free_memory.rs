//! Memory that nobody uses any more, and that the allocator keeps for the next allocation.

use std::thread;

/// Makes the allocator return memory to the system that has been free for a second or longer.
///
/// The allocator looks for such memory only while threads allocate, or when one of them ends. A process without work
/// would keep everything that its start needed. So this starts a thread that ends at once. If the system gives none,
/// nothing happens.
pub fn give_back() {
    // The thread allocates a little itself: its name, for example. Without that, the allocator would not notice its end.
    let _ = thread::Builder::new().name("free-memory".to_owned()).spawn(|| {});
}
