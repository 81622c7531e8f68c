//! Each accepted operation completes exactly once, and an abandoned one never.

use std::collections::BTreeMap;

use ferromqtt_proto::{OpId, Outcome, QoS, ReasonCode};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A publish at this QoS.
    Publish(QoS),
    /// A publish at this QoS that wants a response.
    Request(QoS),
    /// A SUBSCRIBE with so many filters.
    Subscribe(usize),
    /// An UNSUBSCRIBE with so many filters.
    Unsubscribe(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Completed,
    Abandoned,
}

/// The operations that one client has accepted.
#[derive(Debug, Default)]
pub struct Operations(BTreeMap<OpId, (Kind, State)>);

impl Operations {
    /// The client has accepted `op`.
    pub fn accept(&mut self, op: OpId, kind: Kind) {
        let before = self.0.insert(op, (kind, State::Pending));
        assert_eq!(before, None, "{op:?} was given twice");
    }

    /// The client says that `op` has ended.
    pub fn complete(&mut self, op: OpId, outcome: &Outcome) {
        let Some((kind, state)) = self.0.get_mut(&op) else {
            panic!("{op:?}, which was never accepted, ends as {outcome:?}");
        };
        assert_eq!(*state, State::Pending, "{op:?} ends as {outcome:?}");
        *state = State::Completed;
        assert!(is_outcome_of(*kind, outcome), "{kind:?} as {outcome:?}");
    }

    /// One of the operations so far, whatever has become of it.
    pub fn choose(&self, index: usize) -> Option<OpId> {
        let ops: Vec<_> = self.0.keys().rev().take(256).collect();
        (!ops.is_empty()).then(|| *ops[index % ops.len()])
    }

    /// Whether `op` has still to end.
    pub fn is_pending(&self, op: OpId) -> bool {
        matches!(self.0.get(&op), Some((_, State::Pending)))
    }

    /// `op` was abandoned in time: it must not complete any more.
    pub fn abandon(&mut self, op: OpId) {
        if let Some((_, state)) = self.0.get_mut(&op) {
            *state = State::Abandoned;
        }
    }

    /// Every operation has come to its end.
    pub fn check_all_ended(&self) {
        let pending = self
            .0
            .iter()
            .find(|(_, (_, state))| *state == State::Pending);
        assert_eq!(pending, None, "an operation never ends");
    }
}

fn is_outcome_of(kind: Kind, outcome: &Outcome) -> bool {
    match (kind, outcome) {
        (_, Outcome::Disconnected { .. }) => true,
        (Kind::Publish(_), Outcome::NotPossible(_) | Outcome::Dropped | Outcome::Expired) => true,
        (Kind::Subscribe(_), Outcome::RequestNotPossible(_) | Outcome::Dropped) => true,
        (Kind::Unsubscribe(_), Outcome::RequestNotPossible(_)) => true,
        (Kind::Request(_), Outcome::Responded(_) | Outcome::Unanswerable { .. }) => true,
        (Kind::Request(_), Outcome::Sent) => false,
        (Kind::Request(qos), Outcome::Acknowledged { reason, .. }) => {
            qos != QoS::AtMostOnce && *reason == ReasonCode::NoMatchingSubscribers
        }
        (Kind::Request(qos), outcome) => is_outcome_of(Kind::Publish(qos), outcome),
        (Kind::Subscribe(filters), Outcome::Subscribed { reasons, .. }) => reasons.len() == filters,
        (Kind::Unsubscribe(filters), Outcome::Unsubscribed { reasons, .. }) => {
            reasons.is_empty() || reasons.len() == filters
        }
        (Kind::Publish(qos), Outcome::Sent) => qos == QoS::AtMostOnce,
        (
            Kind::Publish(qos),
            Outcome::Acknowledged { .. } | Outcome::Refused { .. } | Outcome::GivenUp(_),
        ) => qos != QoS::AtMostOnce,
        // A QoS 1 publish only when it expired since the session was lost.
        (Kind::Publish(qos), Outcome::SessionLost) => qos != QoS::AtMostOnce,
        (Kind::Publish(qos), Outcome::Unreleased { .. } | Outcome::NotStored { .. }) => {
            qos == QoS::ExactlyOnce
        }
        _ => false,
    }
}
