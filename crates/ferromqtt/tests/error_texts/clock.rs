//! Runtimes and their clocks.

use std::future::Future;
use std::time::Duration;

/// Nothing here waits forever.
pub(crate) async fn in_time<F: Future>(provoking: F) -> F::Output {
    let ended = tokio::time::timeout(Duration::from_secs(60), provoking).await;
    ended.expect("the provocation ends in time")
}

/// Plays `provoking` with a clock that moves on while everybody waits.
pub(crate) fn in_virtual_time<F: Future>(provoking: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(provoking)
}

/// Plays `provoking` with the clock of everybody.
pub(crate) fn play<F: Future>(provoking: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(in_time(provoking))
}
