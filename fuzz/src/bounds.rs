//! The bounds of what one input may cost: every target runs its decoder within them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

/// No single allocation is larger.
const ALLOCATION_BYTES_MAX: usize = 1024 * 1024;

/// All that is held at once, beyond what was held before: a frame of 64 KiB must not stand for hundreds of megabytes in
/// many small pieces either.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Processor time of the thread, not the wall clock: the machine has other things to do.
const TIME_MAX: Duration = Duration::from_millis(100);

/// A reading of the processor's clock is a call of the system, and costs as much as a short input. One may be this old.
const READING_AGE_MAX: Duration = Duration::from_millis(1);

#[global_allocator]
static COUNTING: Counting = Counting;

// Of each thread by itself: the fuzzer has but one that runs targets, and plain numbers are quicker than atomic ones.
thread_local! {
    static LARGEST_BYTES: Cell<usize> = const { Cell::new(0) };
    static HELD_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
    static READING: Cell<Option<(Instant, ThreadTime)>> = const { Cell::new(None) };
}

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
        give(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        give(layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

fn take(bytes: usize) {
    LARGEST_BYTES.set(LARGEST_BYTES.get().max(bytes));
    let held = HELD_BYTES.get().wrapping_add(bytes);
    HELD_BYTES.set(held);
    PEAK_BYTES.set(PEAK_BYTES.get().max(held));
}

fn give(bytes: usize) {
    HELD_BYTES.set(HELD_BYTES.get().wrapping_sub(bytes));
}

/// Runs `work`, and panics where it took more memory or time than one input may.
pub fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let before = HELD_BYTES.get();
    PEAK_BYTES.set(before);
    LARGEST_BYTES.set(0);
    let start = Instant::now();
    let reading = recent_reading(start);
    let outcome = work();
    // No thread has more of the processor than passes on the wall: the processor's clock matters only where that was long.
    if start.elapsed() > TIME_MAX {
        let took = reading.elapsed();
        assert!(took <= TIME_MAX, "{took:?} of processor time");
    }
    let (largest, held) = (LARGEST_BYTES.get(), PEAK_BYTES.get() - before);
    assert!(largest <= ALLOCATION_BYTES_MAX, "one allocation of {largest} bytes");
    assert!(held <= HELD_BYTES_MAX, "{held} bytes held at once");
    outcome
}

/// The processor's clock now or a moment ago: what is timed by it comes out as too long by that moment, never as too short.
fn recent_reading(now: Instant) -> ThreadTime {
    match READING.get() {
        Some((at, reading)) if now - at <= READING_AGE_MAX => reading,
        _ => {
            let reading = ThreadTime::now();
            READING.set(Some((now, reading)));
            reading
        }
    }
}
