//! Calls that wait: which asyncio future belongs to which operation, and when it gives up.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use pyo3::prelude::*;

use crate::failure::Awaited;

/// One call that waits.
pub(crate) struct Call {
    pub(crate) future: Py<PyAny>,
    pub(crate) awaited: Awaited,
    /// Its time limit in seconds, for an error.
    pub(crate) limit: f32,
    pub(crate) deadline: Option<Instant>,
}

/// All waiting calls of one client. One timer serves them all.
#[derive(Default)]
pub(crate) struct Calls {
    by_op: HashMap<u64, Call>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl Calls {
    pub(crate) fn len(&self) -> usize {
        self.by_op.len()
    }

    pub(crate) fn contains(&self, op: u64) -> bool {
        self.by_op.contains_key(&op)
    }

    pub(crate) fn insert(&mut self, op: u64, call: Call) {
        if let Some(deadline) = call.deadline {
            self.deadlines.insert((deadline, op));
        }
        self.by_op.insert(op, call);
    }

    pub(crate) fn remove(&mut self, op: u64) -> Option<Call> {
        let call = self.by_op.remove(&op)?;
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, op));
        }
        Some(call)
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// A call whose time is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<u64> {
        let &(deadline, op) = self.deadlines.first()?;
        (deadline <= now).then_some(op)
    }

    pub(crate) fn futures(&self) -> impl Iterator<Item = &Py<PyAny>> {
        self.by_op.values().map(|call| &call.future)
    }
}
