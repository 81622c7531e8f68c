//! One turn of the event loop, as far as publishing goes: when to let others run, and how many tasks publish at once.

use pyo3::prelude::*;

/// So many QoS 0 publishes may go by without suspending, however small they are.
const PUBLISHES: u32 = 512;

/// What has happened since the last flush, which comes once a turn.
#[derive(Default)]
pub(crate) struct Turn {
    publishes: u32,
    /// Distinct tasks that published at QoS 0: calls that upstream would count as pending.
    pub(crate) tasks: usize,
    /// The last of them, as an address only: it is compared, never followed.
    last_task: usize,
}

impl Turn {
    /// Counts a QoS 0 publish; `true` when it is time to let others run.
    pub(crate) const fn count(&mut self) -> bool {
        self.publishes += 1;
        self.publishes >= PUBLISHES
    }

    /// Counts the task that runs now, unless it was the last to publish.
    pub(crate) fn note_task(&mut self, task: &Bound<'_, PyAny>) {
        let address = task.as_ptr() as usize;
        if address != self.last_task {
            self.last_task = address;
            self.tasks += 1;
        }
    }
}
