//! The bounds of what one input may cost: every target runs its decoder within them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use cpu_time::ThreadTime;

/// No single allocation is larger.
const ALLOCATION_BYTES_MAX: usize = 1024 * 1024;

/// All that is held at once, beyond what was held before: a frame of 64 KiB must not stand for hundreds of megabytes in
/// many small pieces either.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Processor time of the thread, not the wall clock: the machine has other things to do.
const TIME_MAX: Duration = Duration::from_millis(100);

#[global_allocator]
static COUNTING: Counting = Counting;

static LARGEST_BYTES: AtomicUsize = AtomicUsize::new(0);
static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with an eye on sizes.
struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        HELD_BYTES.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn take(bytes: usize) {
    LARGEST_BYTES.fetch_max(bytes, Relaxed);
    let held = HELD_BYTES.fetch_add(bytes, Relaxed) + bytes;
    PEAK_BYTES.fetch_max(held, Relaxed);
}

/// Runs `work`, and panics where it took more memory or time than one input may.
pub fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let before = HELD_BYTES.load(Relaxed);
    PEAK_BYTES.store(before, Relaxed);
    LARGEST_BYTES.store(0, Relaxed);
    let start = ThreadTime::now();
    let outcome = work();
    let took = start.elapsed();
    let (largest, held) = (LARGEST_BYTES.load(Relaxed), PEAK_BYTES.load(Relaxed) - before);
    assert!(largest <= ALLOCATION_BYTES_MAX, "one allocation of {largest} bytes");
    assert!(held <= HELD_BYTES_MAX, "{held} bytes held at once");
    assert!(took <= TIME_MAX, "{took:?} of processor time");
    outcome
}
