//! What the thread of a store shares with its handle.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::read::StoreStats;
use crate::store::{
    FetchRequest, FetchedMessage, StoreEntry, StoreEvent, StoreMarks, StoreWaker, SubmitError,
};

/// How many entries wait to be written, at most.
pub(crate) const MOST_ENTRIES: usize = 32_768;

/// How many bytes of them, in memory. One entry is taken in any case.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// How many events wait to be taken, at most.
const MOST_EVENTS: usize = 1_024;

#[derive(Default)]
pub(crate) struct StoreShared {
    state: Mutex<StoreSharedState>,
    /// The thread waits for work here.
    work: Condvar,
    /// Others wait here until the thread has ended.
    ended: Condvar,
}

#[derive(Default)]
struct StoreSharedState {
    submitted: VecDeque<StoreEntry>,
    /// Of what is submitted and not written.
    entries: usize,
    bytes: usize,
    last_ticket: u64,
    marks: StoreMarks,
    request: Option<FetchRequest>,
    is_fetching: bool,
    fetched: Option<Vec<FetchedMessage>>,
    events: VecDeque<StoreEvent>,
    missed: u64,
    stats: StoreStats,
    closing: bool,
    waker: Option<StoreWaker>,
}

/// What the thread has to do.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) submitted: VecDeque<StoreEntry>,
    pub(crate) request: Option<FetchRequest>,
    pub(crate) closing: bool,
}

impl StoreShared {
    pub(crate) fn new(stats: StoreStats, waker: Option<StoreWaker>) -> Self {
        let state = StoreSharedState {
            stats,
            waker,
            ..StoreSharedState::default()
        };
        Self {
            state: Mutex::new(state),
            ..Self::default()
        }
    }

    /// A thread that panicked while it had the lock has left whole values behind.
    fn lock(&self) -> MutexGuard<'_, StoreSharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn submit(&self, entry: StoreEntry) -> Result<u64, (Box<StoreEntry>, SubmitError)> {
        let mut state = self.lock();
        let size = entry.change.size();
        let refusal = if let Some(failure) = &state.marks.failure {
            Some(SubmitError::Failed(failure.clone()))
        } else if state.closing {
            Some(SubmitError::Closed)
        } else if state.entries > 0
            && (state.entries >= MOST_ENTRIES || state.bytes + size > MOST_BYTES)
        {
            Some(SubmitError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            drop(state);
            return Err((Box::new(entry), refusal));
        }
        state.last_ticket += 1;
        state.entries += 1;
        state.bytes += size;
        let was_idle = state.submitted.is_empty();
        state.submitted.push_back(entry);
        let ticket = state.last_ticket;
        drop(state);
        if was_idle {
            self.work.notify_one();
        }
        Ok(ticket)
    }

    pub(crate) fn marks(&self) -> StoreMarks {
        self.lock().marks.clone()
    }

    pub(crate) fn fetch(&self, request: FetchRequest) -> bool {
        let mut state = self.lock();
        if state.is_fetching || state.marks.closed || state.marks.failure.is_some() {
            return false;
        }
        state.is_fetching = true;
        state.request = Some(request);
        drop(state);
        self.work.notify_one();
        true
    }

    pub(crate) fn take_fetched(&self) -> Option<Vec<FetchedMessage>> {
        let mut state = self.lock();
        let fetched = state.fetched.take()?;
        state.is_fetching = false;
        Some(fetched)
    }

    pub(crate) fn take_events(&self) -> Vec<StoreEvent> {
        let mut state = self.lock();
        let missed = mem::take(&mut state.missed);
        let missed = (missed > 0).then_some(StoreEvent::Missed(missed));
        missed.into_iter().chain(state.events.drain(..)).collect()
    }

    pub(crate) fn stats(&self) -> StoreStats {
        self.lock().stats
    }

    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    pub(crate) fn wait_until_ended(&self) {
        let state = self.lock();
        let waits = |state: &mut StoreSharedState| !state.marks.closed;
        drop((self.ended.wait_while(state, waits)).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits for work, until `limit` is over.
    pub(crate) fn wait(&self, limit: Duration) -> Work {
        let state = self.lock();
        let idle = |state: &mut StoreSharedState| {
            state.submitted.is_empty() && state.request.is_none() && !state.closing
        };
        let waited = self.work.wait_timeout_while(state, limit, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Work {
            submitted: mem::take(&mut state.submitted),
            request: state.request.take(),
            closing: state.closing,
        }
    }

    /// Changes what others see, and calls the waker.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut StoreMarks, &mut StoreStats)) {
        self.wake(|state| change(&mut state.marks, &mut state.stats));
    }

    /// So many entries, with so many bytes, wait no longer.
    pub(crate) fn note_written(&self, entries: usize, bytes: usize) {
        let mut state = self.lock();
        state.entries = state.entries.saturating_sub(entries);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    pub(crate) fn give_fetched(&self, fetched: Vec<FetchedMessage>) {
        self.wake(|state| state.fetched = Some(fetched));
    }

    pub(crate) fn give_events(&self, events: impl IntoIterator<Item = StoreEvent>) {
        let mut events = events.into_iter().peekable();
        if events.peek().is_none() {
            return;
        }
        self.wake(|state| {
            for event in events {
                if state.events.len() >= MOST_EVENTS {
                    state.events.pop_front();
                    state.missed += 1;
                }
                state.events.push_back(event);
            }
        });
    }

    /// For how many commands there is space among the events: half of it is for what the store has to say itself.
    pub(crate) fn room_for_commands(&self) -> usize {
        (MOST_EVENTS / 2).saturating_sub(self.lock().events.len())
    }

    pub(crate) fn note_ended(&self) {
        self.wake(|state| state.marks.closed = true);
        self.ended.notify_all();
    }

    fn wake(&self, change: impl FnOnce(&mut StoreSharedState)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }
}
