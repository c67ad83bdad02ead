//! An allocator that counts the allocations of all threads together.

#![expect(
    unsafe_code,
    reason = "the trait of allocators is unsafe; this one passes everything on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

/// The allocator of the system, with counters.
pub(crate) struct CountingAllocator;

/// The use of the allocator so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Number of allocated blocks, also of those that were resized.
    pub(crate) allocations: u64,
    /// Bytes of these blocks.
    pub(crate) bytes: u64,
    /// Bytes of the blocks that were freed.
    freed: u64,
}

impl Usage {
    pub(crate) fn now() -> Self {
        Self {
            allocations: ALLOCATIONS.load(Relaxed),
            bytes: BYTES.load(Relaxed),
            freed: FREED.load(Relaxed),
        }
    }

    /// Bytes that are in use.
    pub(crate) fn kept(self) -> u64 {
        self.bytes.saturating_sub(self.freed)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            bytes: self.bytes - before.bytes,
            freed: self.freed - before.freed,
        }
    }
}

fn took(layout: Layout) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    BYTES.fetch_add(layout.size() as u64, Relaxed);
}

fn gave_back(layout: Layout) {
    FREED.fetch_add(layout.size() as u64, Relaxed);
}

// SAFETY: `System` keeps the contract; arguments and results pass unchanged.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout);
        // SAFETY: as the caller vouches.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        gave_back(layout);
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        gave_back(layout);
        ALLOCATIONS.fetch_add(1, Relaxed);
        BYTES.fetch_add(size as u64, Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { System.realloc(block, layout, size) }
    }
}
