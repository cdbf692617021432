//! What vector clocks cost, by the number of their devices.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use solconnect_sync_core::vector_clock::VectorClock;

/// A clock of devices whose numbers are `first`, `first + step` …, all at `counter`.
fn clock(first: usize, step: usize, devices: usize, counter: u64) -> VectorClock {
    let mut clock = VectorClock::new();
    for number in 0..devices {
        clock.raise(&format!("3JhYcP8sVbE6u{:04}", first + number * step), counter).expect("at most 1,000 devices");
    }
    clock
}

fn vector_clock(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vector clock");
    for devices in [5, 1_000] {
        let older = clock(0, 1, devices, 5);
        let newer = clock(0, 1, devices, 6);
        let even = clock(0, 2, devices / 2, 5);
        let odd = clock(1, 2, devices / 2, 5);
        let last = format!("3JhYcP8sVbE6u{:04}", devices - 1);
        group
            .bench_function(format!("compare, {devices} devices"), |bencher| bencher.iter(|| black_box(&older).compare(black_box(&newer))));
        group.bench_function(format!("merge, the same {devices} devices"), |bencher| {
            bencher.iter_batched_ref(|| older.clone(), |clock| clock.merge(black_box(&newer)), BatchSize::SmallInput);
        });
        group.bench_function(format!("merge, {devices} devices, each in one of both"), |bencher| {
            bencher.iter_batched_ref(|| even.clone(), |clock| clock.merge(black_box(&odd)), BatchSize::SmallInput);
        });
        group.bench_function(format!("raise one of {devices} devices"), |bencher| {
            let (mut clock, mut counter) = (older.clone(), 5);
            bencher.iter(|| {
                counter += 1;
                clock.raise(black_box(&last), counter)
            });
        });
    }
}

criterion_group!(benches, vector_clock);
criterion_main!(benches);
