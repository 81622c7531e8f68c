//! Between what a client reports and the records of the log: the one place that knows `SessionChange`.

use bytes::BytesMut;
use ferromqtt_proto::{Direction, Publish, QuarantineReason, SessionChange};

use crate::record::{AcceptedMessage, EndedHow, LogRecord, StoreIdentity};

/// A change that a store records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreChange {
    /// A change of the client's session state. [`SessionChange::Finished`] ends a message without a reason; where you know it,
    /// submit [`Ended`](Self::Ended) before it, or in its place.
    Session(SessionChange),
    /// A message has ended: nothing that was recorded under its key is needed any more.
    Ended {
        /// The message.
        key: u64,
        /// How.
        how: EndedHow,
    },
    /// A message is kept and not sent any more. To send it all the same, read it, accept it under a new key, and end this one
    /// as [`EndedHow::Requeued`] in the same submission.
    Quarantined {
        /// The message.
        key: u64,
        /// Why.
        why: QuarantineReason,
    },
    /// Whose session it is.
    Identity(String),
}

/// What a change ends, if it ends a message.
fn ended(change: &StoreChange) -> Option<(u64, EndedHow)> {
    match *change {
        StoreChange::Session(SessionChange::Finished { key }) => Some((key, EndedHow::Finished)),
        StoreChange::Ended { key, how } => Some((key, how)),
        _ => None,
    }
}

impl StoreChange {
    /// The message that it is about.
    pub(crate) fn key(&self) -> Option<u64> {
        match self {
            Self::Session(
                SessionChange::Accepted { key, .. }
                | SessionChange::Publishing { key, .. }
                | SessionChange::Sending { key, .. }
                | SessionChange::Releasing { key }
                | SessionChange::Finished { key }
                | SessionChange::Uncertain { key },
            )
            | Self::Ended { key, .. }
            | Self::Quarantined { key, .. } => Some(*key),
            _ => None,
        }
    }

    /// The message that it brings with it.
    pub(crate) fn message(&self) -> Option<&Publish> {
        match self {
            Self::Session(
                SessionChange::Accepted { publish, .. } | SessionChange::Publishing { publish, .. },
            ) => Some(publish),
            _ => None,
        }
    }

    /// Whether it accepts a message: nothing that is sent waits for that.
    pub(crate) const fn is_acceptance(&self) -> bool {
        matches!(self, Self::Session(SessionChange::Accepted { .. }))
    }

    /// Whether it ends a message.
    pub(crate) fn is_end(&self) -> bool {
        ended(self).is_some()
    }

    /// Whether it loses the session: what comes later means another one.
    pub(crate) const fn is_session_lost(&self) -> bool {
        matches!(self, Self::Session(SessionChange::SessionLost { .. }))
    }

    /// Roughly how many bytes it takes, in memory and on the disk.
    pub(crate) fn size(&self) -> usize {
        let message = self.message().map_or(0, Publish::memory_size);
        32 + message
    }
}

/// Appends the records of changes. Of messages that are accepted and end among them, only that is left.
pub(crate) fn put_changes<'c>(
    now: u64,
    changes: impl Iterator<Item = &'c StoreChange> + Clone,
    out: &mut BytesMut,
) {
    LogRecord::Clock(now).put(out);
    let mut ends: Vec<_> = changes.clone().filter_map(ended).collect();
    // A stable sort keeps the first reason that was given.
    ends.sort_by_key(|(key, _)| *key);
    ends.dedup_by_key(|(key, _)| *key);
    let has_ended = |key: u64| ends.binary_search_by_key(&key, |(key, _)| *key).is_ok();
    let mut passed: Vec<u64> = match ends.is_empty() {
        true => Vec::new(),
        false => (changes.clone())
            .filter(|change| change.message().is_some())
            .filter_map(StoreChange::key)
            .filter(|key| has_ended(*key))
            .collect(),
    };
    passed.sort_unstable();
    passed.dedup();
    let is_passed = |key: u64| passed.binary_search(&key).is_ok();
    for change in changes {
        if ended(change).is_some() {
            continue;
        }
        if !change.key().is_some_and(is_passed) {
            put_change(now, change, out);
        }
    }
    put_ends(&ends, out);
    put_passed(ends.iter().filter(|(key, _)| is_passed(*key)), out);
}

fn put_change(now: u64, change: &StoreChange, out: &mut BytesMut) {
    let record = match change {
        StoreChange::Session(change) => return put_session_change(now, change, out),
        StoreChange::Ended { .. } => return,
        StoreChange::Quarantined { key, why } => LogRecord::Quarantined {
            key: *key,
            why: *why,
            at: now,
        },
        StoreChange::Identity(client_identifier) => LogRecord::Identity(StoreIdentity {
            client_identifier: client_identifier.clone(),
            made_at: now,
        }),
    };
    record.put(out);
}

fn put_session_change(now: u64, change: &SessionChange, out: &mut BytesMut) {
    let message = |key, expires_at, keep_latest| AcceptedMessage {
        key,
        accepted_at: now,
        expires_at,
        keep_latest,
        publish: &[],
    };
    let record = match *change {
        SessionChange::Accepted {
            key,
            ref publish,
            expires_in,
            keep_latest,
        } => {
            let expires_at = expires_in.map_or(0, |limit| {
                let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
                now.saturating_add(limit).max(1)
            });
            message(key, expires_at, keep_latest).put_publish(publish, out);
            return;
        }
        SessionChange::Publishing {
            key,
            packet_id,
            ref publish,
        } => {
            message(key, 0, false).put_publish(publish, out);
            LogRecord::Sending { key, packet_id }
        }
        SessionChange::Sending { key, packet_id } => LogRecord::Sending { key, packet_id },
        SessionChange::Releasing { key } => LogRecord::Releasing { key },
        SessionChange::Received { packet_id } => LogRecord::Received { packet_id },
        SessionChange::Released { packet_id } => LogRecord::Released { packet_id },
        SessionChange::SessionLost { direction } => match direction {
            Direction::Sent => LogRecord::SessionLost,
            Direction::Received => LogRecord::ReceivedLost,
        },
        SessionChange::Retired { packet_id } => LogRecord::Retired { packet_id },
        SessionChange::Connecting => LogRecord::Connecting,
        SessionChange::Resumed => LogRecord::Resumed,
        SessionChange::Uncertain { key } => LogRecord::Quarantined {
            key,
            why: QuarantineReason::Uncertain,
            at: now,
        },
        _ => return, // an end, which is recorded behind the others
    };
    record.put(out);
}

/// Keys that follow each other and ended in the same way are one record: 100 acknowledgements take 10 bytes.
fn put_ends(ends: &[(u64, EndedHow)], out: &mut BytesMut) {
    for run in ends.chunk_by(|(a, how), (b, next)| a.checked_add(1) == Some(*b) && how == next) {
        if let (Some(&(from, how)), Some(&(to, _))) = (run.first(), run.last()) {
            LogRecord::Ended { from, to, how }.put(out);
        }
    }
}

fn put_passed<'e>(passed: impl Iterator<Item = &'e (u64, EndedHow)>, out: &mut BytesMut) {
    let mut ways: Vec<_> = passed.map(|(_, how)| *how).collect();
    ways.sort_unstable();
    for run in ways.chunk_by(|a, b| a == b) {
        if let Some(&how) = run.first() {
            let count = run.len() as u64;
            LogRecord::Passed { count, how }.put(out);
        }
    }
}
