//! What must hold of every outcome and every message.

use super::*;

impl World {
    pub(super) fn receive(&mut self, payload: &[u8]) -> u16 {
        let number = std::str::from_utf8(payload).unwrap().parse().unwrap();
        *self.received.entry(number).or_default() += 1;
        number
    }

    pub(super) fn check_received(&mut self) {
        for (number, times) in &self.received {
            let once = self.sent.get(number) == Some(&ExactlyOnce);
            assert!(
                !once || *times <= 1,
                "QoS 2 message {number} came {times} times"
            );
        }
        for number in std::mem::take(&mut self.answered) {
            let may_be_mistaken = self.is_doubtful && self.server.sent_again.contains(&number);
            assert!(
                self.received.contains_key(&number) || may_be_mistaken,
                "{number} was acknowledged, but is lost"
            );
        }
    }

    pub(super) fn check_answered(&mut self) {
        for number in std::mem::take(&mut self.server.answered) {
            assert!(
                !self.not_let_go.contains(&number),
                "{number} was acknowledged while the application held it"
            );
            let needs_record = self.setting.journal && self.sent.get(&number) == Some(&ExactlyOnce);
            assert!(
                !needs_record || self.stores.received_on_record.contains(&number),
                "PUBREC of {number} left before its record"
            );
            self.answered.push(number);
        }
    }

    pub(super) fn check(&mut self, op: OpId, outcome: &Outcome) {
        let operation = self
            .operations
            .get_mut(&(self.crashes, op))
            .expect("an operation that was never accepted");
        assert_eq!(
            operation.state,
            State::Pending,
            "{op:?} ends as {outcome:?}"
        );
        operation.state = State::Completed;
        let Some((number, qos)) = operation.publish else {
            assert!(matches!(
                outcome,
                Outcome::Subscribed { .. }
                    | Outcome::Unsubscribed { .. }
                    | Outcome::Disconnected { .. }
                    | Outcome::Dropped // its queue was given up before it was sent
            ));
            return;
        };
        let times = self.server.accepted.get(&number).copied().unwrap_or(0);
        if operation.is_request {
            let success = matches!(outcome, Outcome::Sent | Outcome::Acknowledged { .. });
            assert!(!success, "{number} waits for its response");
        }
        match outcome {
            Outcome::Responded(response) => {
                assert!(times > 0, "{number} was answered, and never asked");
                assert_eq!(response.payload, "0");
            }
            Outcome::Sent => assert_eq!(qos, AtMostOnce),
            Outcome::Acknowledged { resent_as_new, .. } => {
                assert!(times > 0, "{number} was acknowledged, but is lost");
                assert!(
                    qos != ExactlyOnce || times == 1,
                    "{number} came {times} times"
                );
                assert!(!resent_as_new || self.session_was_lost());
            }
            Outcome::Refused { .. } => assert_ne!(qos, AtMostOnce),
            Outcome::SessionLost => {
                assert_ne!(qos, AtMostOnce); // QoS 1 when it expired before it could go out again
                assert!(self.session_was_lost());
            }
            Outcome::Expired => assert_eq!(times, 0, "{number} was sent"),
            Outcome::Disconnected { .. } => {}
            Outcome::NotStored { delivery } => {
                assert!(self.setting.journal);
                assert_eq!(qos, ExactlyOnce);
                assert!(
                    *delivery == Delivery::Unknown || times == 0,
                    "{number} was sent"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    /// The server forgot it, or the client asked it to.
    pub(super) fn session_was_lost(&self) -> bool {
        self.server.losses > 0 || self.setting.clean_start != CleanStart::Never
    }
}
