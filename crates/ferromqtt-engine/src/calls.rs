//! The calls that wait for an outcome: whose token belongs to which operation, and when it gives up.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use ferromqtt_proto::{InOrder, OpId};

/// The name of a call, from the moment it is submitted to its end. Never reused within an [`Engine`](crate::Engine).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(CallKey);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum CallKey {
    /// Accepted when it was made.
    Op(u64),
    /// It waited for capacity, in this place of the line.
    Place(u64),
    /// It waits for capacity in the outgoing queue, in this place of its line.
    QueuePlace(u64),
}

impl CallId {
    pub(crate) const fn of_place(place: u64) -> Self {
        Self(CallKey::Place(place))
    }

    pub(crate) const fn of_queue_place(place: u64) -> Self {
        Self(CallKey::QueuePlace(place))
    }

    const fn of_op(op: OpId) -> Self {
        Self(CallKey::Op(op.value()))
    }

    /// The call as a number, for a face whose language has no better name for it. 0 is no call.
    pub const fn number(self) -> u64 {
        match self.0 {
            CallKey::Op(op) => op << 2,
            CallKey::Place(place) => place << 2 | 1,
            CallKey::QueuePlace(place) => place << 2 | 2,
        }
    }

    /// The call with this [`number`](Self::number), whether there is one or not.
    pub const fn from_number(number: u64) -> Self {
        Self(match number & 3 {
            0 => CallKey::Op(number >> 2),
            1 => CallKey::Place(number >> 2),
            _ => CallKey::QueuePlace(number >> 2),
        })
    }

    /// The place in the line that the call has or had.
    pub(crate) const fn place(self) -> Option<u64> {
        match self.0 {
            CallKey::Place(place) => Some(place),
            CallKey::Op(_) | CallKey::QueuePlace(_) => None,
        }
    }

    /// The place in the line of the outgoing queue that the call has or had.
    pub(crate) const fn queue_place(self) -> Option<u64> {
        match self.0 {
            CallKey::QueuePlace(place) => Some(place),
            CallKey::Op(_) | CallKey::Place(_) => None,
        }
    }
}

#[derive(Debug)]
struct OpenCall<C> {
    token: C,
    id: CallId,
    deadline: Option<Instant>,
}

/// All accepted calls that wait.
#[derive(Debug)]
pub(crate) struct OpenCalls<C> {
    /// By the numbers of their operations, which rise.
    by_op: InOrder<OpenCall<C>>,
    /// The operations of those that waited for capacity, by their places in the line.
    by_place: HashMap<u64, OpId>,
    /// Of calls that were accepted, and of those that wait for capacity.
    deadlines: BTreeSet<(Instant, CallId)>,
}

impl<C> Default for OpenCalls<C> {
    fn default() -> Self {
        Self {
            by_op: InOrder::default(),
            by_place: HashMap::new(),
            deadlines: BTreeSet::new(),
        }
    }
}

impl<C> OpenCalls<C> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.by_op.is_empty()
    }

    pub(crate) const fn len(&self) -> usize {
        self.by_op.len()
    }

    pub(crate) fn contains(&self, op: OpId) -> bool {
        self.get(op).is_some()
    }

    /// The token of a call that was accepted and has not ended.
    pub(crate) fn get(&self, op: OpId) -> Option<&C> {
        self.by_op.get(op.value()).map(|call| &call.token)
    }

    /// A call that was accepted when it was made.
    pub(crate) fn insert(&mut self, op: OpId, token: C, deadline: Option<Instant>) -> CallId {
        let id = CallId::of_op(op);
        self.insert_as(id, op, token, deadline);
        id
    }

    /// A call that was accepted from its place in the line.
    pub(crate) fn insert_from_line(
        &mut self,
        place: u64,
        op: OpId,
        token: C,
        deadline: Option<Instant>,
    ) {
        self.by_place.insert(place, op);
        self.insert_as(CallId::of_place(place), op, token, deadline);
    }

    fn insert_as(&mut self, id: CallId, op: OpId, token: C, deadline: Option<Instant>) {
        self.watch(id, deadline);
        let call = OpenCall {
            token,
            id,
            deadline,
        };
        self.by_op.push(op.value(), call);
    }

    pub(crate) fn remove(&mut self, op: OpId) -> Option<C> {
        let call = self.by_op.remove(op.value())?;
        self.unwatch(call.id, call.deadline);
        if let Some(place) = call.id.place() {
            self.by_place.remove(&place);
        }
        Some(call.token)
    }

    /// The operation of a call that was accepted and has not ended.
    pub(crate) fn op(&self, id: CallId) -> Option<OpId> {
        match id.0 {
            CallKey::Op(op) => Some(OpId::from_value(op)),
            CallKey::Place(place) => self.by_place.get(&place).copied(),
            CallKey::QueuePlace(_) => None,
        }
    }

    /// The call goes on without its deadline.
    pub(crate) fn lift_deadline(&mut self, id: CallId) {
        let op = self.op(id);
        if let Some(call) = op.and_then(|op| self.by_op.get_mut(op.value())) {
            let deadline = call.deadline.take();
            self.unwatch(id, deadline);
        }
    }

    pub(crate) fn watch(&mut self, id: CallId, deadline: Option<Instant>) {
        self.deadlines
            .extend(deadline.map(|deadline| (deadline, id)));
    }

    pub(crate) fn unwatch(&mut self, id: CallId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, id));
        }
    }

    pub(crate) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// A call whose time is over. Each is returned once.
    pub(crate) fn pop_overdue(&mut self, now: Instant) -> Option<CallId> {
        let &(deadline, id) = self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.deadlines.pop_first();
        Some(id)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &C> {
        self.by_op.iter().map(|(_, call)| &call.token)
    }

    /// Takes out the calls whose callers have gone.
    pub(crate) fn remove_gone(&mut self, mut is_gone: impl FnMut(&C) -> bool) -> Vec<C> {
        let gone: Vec<_> = (self.by_op.iter())
            .filter(|(_, call)| is_gone(&call.token))
            .map(|(op, _)| OpId::from_value(op))
            .collect();
        gone.into_iter().filter_map(|op| self.remove(op)).collect()
    }

    /// Takes out all calls.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = C> + use<C> {
        self.by_place.clear();
        self.deadlines.clear();
        self.by_op.drain().map(|(_, call)| call.token)
    }
}
