//! The warning that many calls wait for the server.

/// When to warn that more calls wait than the threshold allows: at the first beyond it, and whenever their number has doubled,
/// until it has fallen to the threshold again.
#[derive(Debug, Default)]
pub(crate) struct PendingWarning {
    /// So many calls are the next to warn of, at least.
    next: usize,
}

impl PendingWarning {
    /// Whether to warn, now that `pending` calls wait, the latest included.
    pub(crate) const fn is_due(&mut self, pending: usize, threshold: usize) -> bool {
        if pending <= threshold || pending <= 1 {
            self.next = 0; // no other one waits, whatever the threshold
        }
        if pending <= threshold || pending < self.next {
            return false;
        }
        self.next = pending.saturating_mul(2);
        true
    }
}
