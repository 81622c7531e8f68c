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

impl StoreSharedState {
    /// Takes an entry, or gives it back with why not.
    fn take(&mut self, entry: StoreEntry) -> Result<(), (Box<StoreEntry>, SubmitError)> {
        let size = entry.change.size();
        if let Some(refusal) = self.refusal(size) {
            return Err((Box::new(entry), refusal));
        }
        self.last_ticket += 1;
        self.entries += 1;
        self.bytes += size;
        self.submitted.push_back(entry);
        Ok(())
    }

    fn refusal(&self, size: usize) -> Option<SubmitError> {
        if let Some(failure) = &self.marks.failure {
            return Some(SubmitError::Failed(failure.clone()));
        }
        if self.closing {
            return Some(SubmitError::Closed);
        }
        let is_full = self.entries >= MOST_ENTRIES || self.bytes + size > MOST_BYTES;
        (self.entries > 0 && is_full).then_some(SubmitError::Busy)
    }
}

/// What the thread has to do.
#[derive(Default)]
pub(crate) struct Work {
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
        let was_idle = state.submitted.is_empty();
        state.take(entry)?;
        let ticket = state.last_ticket;
        drop(state);
        if was_idle {
            self.work.notify_one();
        }
        Ok(ticket)
    }

    pub(crate) fn submit_all(&self, entries: &mut VecDeque<StoreEntry>) -> Result<(), SubmitError> {
        let mut state = self.lock();
        let was_idle = state.submitted.is_empty();
        let mut refusal = None;
        while let Some(entry) = entries.pop_front() {
            if let Err((entry, why)) = state.take(entry) {
                entries.push_front(*entry);
                refusal = Some(why);
                break;
            }
        }
        let has_work = was_idle && !state.submitted.is_empty();
        drop(state);
        if has_work {
            self.work.notify_one();
        }
        refusal.map_or(Ok(()), Err)
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

    /// Waits for work, until `limit` is over. What was submitted goes into `submitted`, which is empty before: its memory is used for
    /// what comes next.
    pub(crate) fn wait(&self, limit: Duration, submitted: &mut VecDeque<StoreEntry>) -> Work {
        let state = self.lock();
        let idle = |state: &mut StoreSharedState| {
            state.submitted.is_empty() && state.request.is_none() && !state.closing
        };
        let waited = self.work.wait_timeout_while(state, limit, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.submitted, submitted);
        Work {
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

#[cfg(test)]
mod tests {
    use ferromqtt_proto::SessionChange;

    use super::*;
    use crate::change::StoreChange;

    fn entries(count: usize) -> VecDeque<StoreEntry> {
        let entry = StoreEntry {
            change: StoreChange::Session(SessionChange::Connecting),
            mark: None,
        };
        std::iter::repeat_n(entry, count).collect()
    }

    #[test]
    fn of_many_entries_those_beyond_the_bound_stay() {
        let shared = StoreShared::default();
        let mut many = entries(MOST_ENTRIES + 2);
        assert_eq!(shared.submit_all(&mut many), Err(SubmitError::Busy));
        assert_eq!(many.len(), 2);
        let mut taken = VecDeque::new();
        shared.wait(Duration::ZERO, &mut taken);
        assert_eq!(taken.len(), MOST_ENTRIES);
        let bytes = shared.lock().bytes;
        shared.note_written(MOST_ENTRIES, bytes);
        assert_eq!(shared.submit_all(&mut many), Ok(()));
        assert!(many.is_empty());
        assert_eq!(shared.lock().last_ticket, MOST_ENTRIES as u64 + 2);
    }

    #[test]
    fn a_closed_store_takes_none_of_them() {
        let shared = StoreShared::default();
        shared.close();
        let mut some = entries(3);
        assert_eq!(shared.submit_all(&mut some), Err(SubmitError::Closed));
        assert_eq!(some.len(), 3);
    }
}
