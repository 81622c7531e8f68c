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

/// The most bytes of heap that `work` holds at a time beyond those before it, and those beyond that it keeps in what it
/// returns.
pub(crate) fn heap<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let kept = work();
    let peak = HEAP.peak_usage().saturating_sub(before);
    (peak, HEAP.current_usage().saturating_sub(before), kept)
}
