//! The clock and the scale.

use rustix::time::{ClockId, clock_gettime};

use crate::HEAP;

/// The CPU seconds of this thread that `work` needs.
pub(crate) fn cpu_seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_seconds();
    let done = work();
    (thread_seconds() - before, done)
}

fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// How many times the CPU of the small case the large one needs, median of three rounds in turns. `cost` does the work for
/// so many and says what the part that counts has cost; the small case is repeated until it has cost 5 ms.
pub(crate) fn growth(small: usize, large: usize, mut cost: impl FnMut(usize) -> f64) -> f64 {
    let mut ratios: Vec<f64> = (0..3)
        .map(|_| {
            let (mut all, mut times) = (0.0, 0.0);
            while all < 0.005 {
                all += cost(small);
                times += 1.0;
            }
            cost(large) / (all / times)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[1]
}

/// How many microseconds more the large case needs than the small one, median of three rounds in turns. `cost` does the work
/// among so many and says how many microseconds the part that counts has cost each time.
pub(crate) fn more_microseconds(
    small: usize,
    large: usize,
    mut cost: impl FnMut(usize) -> f64,
) -> f64 {
    let mut more: Vec<f64> = (0..3)
        .map(|_| {
            let small = cost(small);
            cost(large) - small
        })
        .collect();
    more.sort_by(f64::total_cmp);
    more[1]
}

/// The same numbers each time, which look random.
pub(crate) fn random() -> impl FnMut() -> usize {
    let mut random = 1_u64;
    move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) as usize
    }
}

/// The same order each time, which has nothing to do with the one before.
pub(crate) fn shuffle<T>(items: &mut [T]) {
    let mut random = random();
    for at in (1..items.len()).rev() {
        items.swap(at, random() % (at + 1));
    }
}

/// As [`growth`], of a `step` for each of so many things that a world made by `prepare` holds.
pub(crate) fn growth_of_steps<T>(
    small: usize,
    large: usize,
    prepare: impl FnMut(usize) -> T,
    step: impl FnMut(&mut T, usize),
) -> f64 {
    growth_of_passes(1, small, large, prepare, step)
}

/// As [`growth`], of a `step` for each of so many things, in several passes over all of them: steps are numbered on.
///
/// Small worlds lie ready that hold together as much as the large one, and take turns. So the same number of steps touches
/// the same amount of memory in the same disorder: otherwise the ratio would be above all that of a cache which the small one
/// fits in to the memory which the large one lies in.
pub(crate) fn growth_of_passes<T>(
    passes: usize,
    small: usize,
    large: usize,
    mut prepare: impl FnMut(usize) -> T,
    mut step: impl FnMut(&mut T, usize),
) -> f64 {
    let mut cost = |size: usize| {
        let mut worlds: Vec<_> = (0..large / size).map(|_| prepare(size)).collect();
        let steps = 0..passes * size;
        let work = || steps.for_each(|at| worlds.iter_mut().for_each(|it| step(it, at)));
        cpu_seconds(work).0
    };
    let mut ratios: Vec<f64> = (0..3)
        .map(|_| {
            let (mut all_small, mut all_large) = (0.0, 0.0);
            while all_small < 0.02 {
                all_small += cost(small);
                all_large += cost(large);
            }
            all_large / all_small * (large / small) as f64
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[1]
}

/// The most bytes of heap that `work` holds at a time beyond those before it, and those beyond that it keeps in what it
/// returns.
pub(crate) fn heap<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let kept = work();
    let peak = HEAP.peak_usage().saturating_sub(before);
    (peak, HEAP.current_usage().saturating_sub(before), kept)
}
