//! Messages that a store has: recorded when they are accepted, whether there is a connection or not, and published later.

use std::time::{Duration, Instant};

use super::Client;
use crate::error::InvalidPublish;
use crate::event::{Delivery, OpId};
use crate::packet_trace::Direction;
use crate::session::{MessageExpiry, Owner, Publish, SessionChange, WaitingPublish};

impl Client {
    /// Gives a message that a store accepts its key, and records it: see [`SessionChange::Accepted`]. The client keeps nothing
    /// of it. The store ends it by [`publish_recorded`](Self::publish_recorded) or by
    /// [`record_ended`](Self::record_ended).
    ///
    /// A message may be accepted in any phase, also before there is a connection. `expires_in` is how long it may wait, and
    /// `keep_latest` whether a newer one to the same topic takes its place; both are recorded too. A Topic Alias, which belongs to one connection, is taken out of the message.
    ///
    /// # Errors
    /// What is wrong with the message by itself, and by the limits of the server if there is a connection; and
    /// [`InvalidPublish::StoreFailed`] while the store [has failed](Self::journal_failed). Nothing is recorded then.
    pub fn record_accepted(
        &mut self,
        publish: &mut Publish,
        expires_in: Option<Duration>,
        keep_latest: bool,
    ) -> Result<u64, InvalidPublish> {
        if let Some(properties) = &mut publish.properties {
            properties.topic_alias = None;
        }
        self.check_publish(publish.packet(None, false))?;
        let journal = &mut self.session.journal;
        if journal.has_failed(Direction::Sent) {
            return Err(InvalidPublish::StoreFailed);
        }
        let key = journal.draw_key();
        journal.record(false, || SessionChange::Accepted {
            key,
            publish: publish.clone(),
            expires_in,
            keep_latest,
        });
        Ok(key)
    }

    /// Accepts a message that a store has under `key`, in any phase and beside the bounds of the outgoing queue: the store
    /// hands over few at a time. It stays in the session until [`Event::Ended`](crate::Event::Ended) reports its outcome; the
    /// end of a connection, or of this client, is none.
    ///
    /// `expires_at` is when it must no longer be sent, on any version: it then ends as
    /// [`Outcome::Expired`](crate::Outcome::Expired). A Message Expiry Interval of the message is sent as what is left until
    /// then, in whole seconds, rounded up. `None` is no limit, and leaves the interval as it is.
    ///
    /// `key` must not be a message's that this session has. Keys that are drawn later are larger. Returns what
    /// [`withdraw`](Self::withdraw) takes the message back by.
    ///
    /// # Errors
    /// What is wrong with the message, as [`record_accepted`](Self::record_accepted) says. The store still has it then.
    pub fn publish_recorded(
        &mut self,
        now: Instant,
        key: u64,
        publish: Publish,
        expires_at: Option<Instant>,
    ) -> Result<OpId, InvalidPublish> {
        self.check_publish(publish.packet(None, false))?;
        self.session.journal.note_key(key);
        let waiting = WaitingPublish {
            owner: Some(Owner::Recorded(key)),
            publish,
            resent_as_new: false,
            expiry: expires_at.map(|end| MessageExpiry::until(now, end)),
            key: Some(key),
        };
        let op = self.next_op(); // for its place among the others
        self.session.outbound.push(op, waiting);
        Ok(op)
    }

    /// Whether a message that was [published with its key](Self::publish_recorded) waits and never was on the wire, so that
    /// the store may still end it otherwise.
    pub fn can_withdraw(&self, op: OpId) -> bool {
        self.session.outbound.can_withdraw(op)
    }

    /// Takes back such a message, if it [can be](Self::can_withdraw). The store ends it: no event follows.
    pub fn withdraw(&mut self, op: OpId) -> bool {
        self.session.outbound.withdraw(op)
    }

    /// No store has the messages of this session any more: no event reports how they end. Those that never were on the wire
    /// leave, and the others stay, as publishes stay that no caller waits for. Returns the keys of all of them.
    pub fn release_recorded(&mut self) -> Vec<(u64, Delivery)> {
        self.session.outbound.release_recorded()
    }

    /// Has keys that are drawn from now on be `next_key` or larger, as those below it are a store's.
    pub fn reserve_keys(&mut self, next_key: u64) {
        self.session.journal.note_key(next_key.saturating_sub(1));
    }

    /// Records that a message that was accepted, and not published, has ended: see [`SessionChange::Finished`]. No event
    /// follows.
    pub fn record_ended(&mut self, key: u64) {
        self.record_finished(Some(key));
    }

    /// The messages of the session that are on record, by their keys, with whether any of each was on the wire.
    pub fn recorded(&self) -> impl Iterator<Item = (u64, Delivery)> {
        self.session.outbound.recorded()
    }
}
