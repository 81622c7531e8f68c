//! Calls that wait: which asyncio future belongs to which operation, and when it gives up.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use pyo3::prelude::*;

struct Call {
    future: Py<PyAny>,
    deadline: Option<Instant>,
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

    pub(crate) fn insert(&mut self, op: u64, future: Py<PyAny>, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, op));
        }
        self.by_op.insert(op, Call { future, deadline });
    }

    pub(crate) fn remove(&mut self, op: u64) -> Option<Py<PyAny>> {
        let call = self.by_op.remove(&op)?;
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, op));
        }
        Some(call.future)
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
