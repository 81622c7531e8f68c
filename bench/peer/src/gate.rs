//! How many messages may be acknowledged: what a client has stored, where it says so.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<u64>, Condvar)>);

impl Gate {
    /// Nothing waits.
    pub(crate) fn open() -> Self {
        let gate = Self::default();
        gate.allow(u64::MAX);
        gate
    }

    /// Everything waits until it is allowed.
    pub(crate) fn closed() -> Self {
        Self::default()
    }

    /// So many messages may be acknowledged, counted from the first.
    pub(crate) fn allow(&self, messages: u64) {
        let (allowed, changed) = &*self.0;
        *allowed.lock().unwrap_or_else(PoisonError::into_inner) = messages;
        changed.notify_all();
    }

    /// Waits until so many messages may be acknowledged.
    pub(crate) fn wait_for(&self, messages: u64) {
        let (allowed, changed) = &*self.0;
        let allowed = allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |allowed: &mut u64| *allowed < messages;
        drop((changed.wait_while(allowed, waits)).unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_wait_until_they_are_allowed() {
        let gate = Gate::closed();
        let waits = gate.clone();
        let waiting = std::thread::spawn(move || waits.wait_for(2));
        gate.allow(1);
        gate.allow(2);
        waiting.join().expect("no panic");
        Gate::open().wait_for(1);
    }
}
