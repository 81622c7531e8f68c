//! Records: what the body of a frame consists of. Each is a kind, a length and fields; a reader skips a kind that it does
//! not know.

mod coding;

use ferromqtt_proto::packet::PacketId;
use ferromqtt_proto::{QuarantineReason, debug_fields};

pub(crate) use coding::{Records, contents_size};

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EndedHow {
    /// It left the session, and the record does not say how.
    Finished,
    /// The server acknowledged it.
    Acknowledged,
    /// The server refused it with this Reason Code.
    Refused(u8),
    /// It could no longer be sent in time.
    Expired,
    /// It left for the bounds of the queue.
    Dropped,
    /// A newer message to the same topic took its place.
    Replaced,
    /// It was accepted again under another key.
    Requeued,
    /// Its bytes on the disk were damaged, and it was lost.
    Damaged,
}

impl EndedHow {
    pub(super) const fn parts(self) -> (u8, u8) {
        match self {
            Self::Finished => (0, 0),
            Self::Acknowledged => (1, 0),
            Self::Refused(code) => (2, code),
            Self::Expired => (3, 0),
            Self::Dropped => (4, 0),
            Self::Replaced => (5, 0),
            Self::Requeued => (6, 0),
            Self::Damaged => (7, 0),
        }
    }

    /// A number that is not known is [`Finished`](Self::Finished): a later version may know more ways.
    pub(super) const fn from_parts(how: u8, code: u8) -> Self {
        match how {
            1 => Self::Acknowledged,
            2 => Self::Refused(code),
            3 => Self::Expired,
            4 => Self::Dropped,
            5 => Self::Replaced,
            6 => Self::Requeued,
            7 => Self::Damaged,
            _ => Self::Finished,
        }
    }
}

/// A reason as the file has it.
pub(super) const fn quarantine_parts(why: QuarantineReason) -> (u8, u8) {
    match why {
        QuarantineReason::Refused(code) => (1, code),
        QuarantineReason::TooLarge => (2, 0),
        QuarantineReason::EndsConnections => (3, 0),
        _ => (4, 0),
    }
}

pub(super) const fn quarantine_of_parts(why: u8, code: u8) -> QuarantineReason {
    match why {
        1 => QuarantineReason::Refused(code),
        2 => QuarantineReason::TooLarge,
        3 => QuarantineReason::EndsConnections,
        _ => QuarantineReason::Uncertain,
    }
}

/// How many messages took which way since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCounters {
    /// Accepted.
    pub accepted: u64,
    /// [Finished](EndedHow::Finished) or [acknowledged](EndedHow::Acknowledged).
    pub finished: u64,
    /// [Refused](EndedHow::Refused) by the server.
    pub refused: u64,
    /// [Expired](EndedHow::Expired).
    pub expired: u64,
    /// [Dropped](EndedHow::Dropped).
    pub dropped: u64,
    /// [Replaced](EndedHow::Replaced).
    pub replaced: u64,
    /// [Requeued](EndedHow::Requeued).
    pub requeued: u64,
    /// Put into quarantine.
    pub quarantined: u64,
    /// Lost to [damage](EndedHow::Damaged) that was found when they were read.
    pub damaged: u64,
}

impl StoreCounters {
    pub(super) fn fields(&mut self) -> [&mut u64; 9] {
        [
            &mut self.accepted,
            &mut self.finished,
            &mut self.refused,
            &mut self.expired,
            &mut self.dropped,
            &mut self.replaced,
            &mut self.requeued,
            &mut self.quarantined,
            &mut self.damaged,
        ]
    }

    pub(crate) fn count_ended(&mut self, how: EndedHow, count: u64) {
        let counter = match how {
            EndedHow::Finished | EndedHow::Acknowledged => &mut self.finished,
            EndedHow::Refused(_) => &mut self.refused,
            EndedHow::Expired => &mut self.expired,
            EndedHow::Dropped => &mut self.dropped,
            EndedHow::Replaced => &mut self.replaced,
            EndedHow::Requeued => &mut self.requeued,
            EndedHow::Damaged => &mut self.damaged,
        };
        *counter = counter.saturating_add(count);
    }
}

/// A message, as the log holds it. `Debug` shows the length of the PUBLISH packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AcceptedMessage<'a> {
    /// Names the message in later records. Never reused.
    pub key: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_at: u64,
    /// When it must no longer be sent, likewise; 0 is never.
    pub expires_at: u64,
    /// A newer message to the same topic takes its place while it waits.
    pub keep_latest: bool,
    /// The message as a PUBLISH packet of MQTT 5.0, whose Packet Identifier means nothing.
    pub publish: &'a [u8],
}

debug_fields!(AcceptedMessage<'a> {
    key,
    accepted_at,
    expires_at,
    keep_latest,
    publish: length
});

/// Where the index of a segment says that a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedMessage {
    /// Its key.
    pub key: u64,
    /// Where the frame of its record begins, in bytes from the start of the segment.
    pub frame_at: u32,
    /// Where its record begins, in bytes from the start of that frame.
    pub record_at: u32,
    /// The length of its record.
    pub size: u32,
    /// When it must no longer be sent, in milliseconds since 1970; 0 is never.
    pub expires_at: u64,
    /// Its [topic's hash](crate::topic_hash), if a newer message to that takes its place; otherwise 0.
    pub topic_hash: u64,
}

/// How far the sending of a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendState {
    /// Its Packet Identifier; `None` when it was sent in a session that was lost since.
    pub packet_id: Option<PacketId>,
    /// Rises with the first sending of each message: the segment of that record (high 32 bits), and its place there.
    pub order: u64,
    /// How many times it was sent.
    pub tries: u32,
    /// PUBREC came: the same of that record.
    pub released: Option<u64>,
}

/// Whose session the log has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Client Identifier.
    pub client_identifier: String,
    /// When the store was made, in milliseconds since 1970.
    pub made_at: u64,
}

/// One record of the log. The numbers are the kinds in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogRecord<'a> {
    /// 1: a message is accepted.
    Accepted(AcceptedMessage<'a>),
    /// 2: a message is about to be sent under this Packet Identifier.
    Sending {
        /// The message.
        key: u64,
        /// Its Packet Identifier from now on.
        packet_id: PacketId,
    },
    /// 3: PUBREC came, and PUBREL is owed.
    Releasing {
        /// The message.
        key: u64,
    },
    /// 4: messages have ended.
    Ended {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
        /// How.
        how: EndedHow,
    },
    /// 5: PUBREC answers a QoS 2 message.
    Received {
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// 6: PUBCOMP answers its PUBREL.
    Released {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// 8: the server has lost the session, for messages that the client sends.
    SessionLost,
    /// 9: a message is not sent any more, and kept.
    Quarantined {
        /// The message.
        key: u64,
        /// Why.
        why: QuarantineReason,
        /// When, in milliseconds since 1970.
        at: u64,
    },
    /// 11: whose session it is.
    Identity(StoreIdentity),
    /// 12: the wall clock, in milliseconds since 1970.
    Clock(u64),
    /// 13: the index of a segment follows, up to the end of the frame.
    Index {
        /// The first frame of the segment.
        first: u64,
        /// The last frame of the segment, whose number the index has too.
        last: u64,
    },
    /// 14: segments below this one are gone, also if their files are still there.
    Floor {
        /// The first segment that counts.
        segment: u32,
        /// Its first frame.
        frame: u64,
    },
    /// 15: a CONNECT is about to be sent while inbound identifiers are on record.
    Connecting,
    /// 16: this Packet Identifier stays unused until the session ends.
    Retired {
        /// The Packet Identifier.
        packet_id: PacketId,
    },
    /// 17: the sending of a message, as it is now.
    SendState {
        /// The message.
        key: u64,
        /// How far it has come.
        state: SendState,
    },
    /// 18: the segment before this one, and its last frame: what else stands there does not count.
    Predecessor {
        /// That segment; 0 is none.
        segment: u32,
        /// Its last frame.
        frame: u64,
        /// Where that ends, in bytes from the start of the segment.
        end: u32,
    },
    /// 19: the next key is this or larger.
    NextKey(u64),
    /// 20: the inbound identifiers, all of them.
    Inbound {
        /// A CONNECT was about to be sent, and nothing says that it was answered.
        connecting: bool,
        /// Packet Identifiers whose PUBREL has not come.
        received: Vec<PacketId>,
        /// Packet Identifiers that stay unused.
        retired: Vec<PacketId>,
    },
    /// 21: how many messages took which way so far.
    Counters(StoreCounters),
    /// 22: damage that was reported.
    DamageNoted {
        /// The segment that has it.
        segment: u32,
        /// The first frame that is lost.
        frame: u64,
    },
    /// 23: where messages of this segment are; in an index alone.
    Placed(Vec<PlacedMessage>),
    /// 24: messages were accepted and have ended in the same frame, which leaves out all else of them.
    Passed {
        /// How many.
        count: u64,
        /// How they ended.
        how: EndedHow,
    },
    /// 25: the server has resumed the session after the last [`Connecting`](Self::Connecting).
    Resumed,
    /// 26: the server has lost the session, for messages that the client receives.
    ReceivedLost,
}
