//! An operation that a caller waits for.

use tokio::sync::oneshot;

use ferromqtt_proto::{Delivery, OpId, Outcome};

use crate::shared::Shared;
use crate::state::State;
use crate::time_limit::TimeLimit;

/// An accepted operation. Dropping it abandons the operation, unless that is [lasting](Self::lasting): what is not on the
/// wire yet is taken back.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    shared: &'a Shared,
    op: OpId,
    outcome: oneshot::Receiver<Outcome>,
    /// Not to be abandoned, or not any more.
    ended: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(shared: &'a Shared, state: &mut State, op: OpId) -> Self {
        Self::accepted(shared, op, state.register(op))
    }

    pub(crate) const fn accepted(
        shared: &'a Shared,
        op: OpId,
        outcome: oneshot::Receiver<Outcome>,
    ) -> Self {
        Self {
            shared,
            op,
            outcome,
            ended: false,
        }
    }

    /// The operation goes on when nobody waits for it.
    pub(crate) const fn lasting(mut self) -> Self {
        self.ended = true;
        self
    }

    /// As [`outcome`](Self::outcome), within a time limit. When that is over it is withdrawn: tells whether it has reached the
    /// wire.
    pub(crate) async fn outcome_within(
        mut self,
        limit: &mut TimeLimit,
    ) -> Result<Option<Outcome>, Delivery> {
        let settled = limit.settled(self.shared, self.op, &mut self.outcome).await;
        self.ended = true;
        settled.map(Result::ok)
    }

    /// How it ends; `None` when the driver has gone without a word, because its runtime was shut down.
    pub(crate) async fn outcome(mut self) -> Option<Outcome> {
        let outcome = (&mut self.outcome).await.ok();
        self.ended = true;
        outcome
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.forget(self.op);
            self.shared.idle.notify_one();
        }
    }
}
