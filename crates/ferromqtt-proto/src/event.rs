//! What the core reports to its driver: events, outcomes, and requests for a transport.

use std::fmt;
use std::time::Instant;

use crate::client::Contest;
use crate::error::{ConnectionError, InvalidPublish, InvalidSubscribe};
use crate::filter_refusal::FilterRefusal;
use crate::packet::{Auth, PacketId, Properties, ProtocolVersion, ReasonCode};
use crate::packet_trace::Direction;
use crate::servers::ServerChoice;
use crate::session::{Message, QueueId};
use crate::slips::Slip;
use crate::topic::{TopicFilter, TopicName};

/// The name of one accepted operation. Never reused within a [`Client`](crate::Client).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(crate) u64);

impl OpId {
    /// The number, for a driver's table.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The operation with this number.
    pub const fn from_value(value: u64) -> Self {
        Self(value)
    }
}

/// What a driver learns from [`Client::poll_event`](crate::Client::poll_event).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server accepted the connection.
    Connected(Box<Connected>),
    /// There is no connection any more, or none came about.
    Disconnected {
        /// Why.
        cause: ConnectionError,
        /// When the next attempt is made; `None` when none will be.
        retry_at: Option<Instant>,
        /// QoS 0 publishes that were reported as sent but had not been handed to the transport.
        unflushed: u64,
    },
    /// The server does not speak the version of MQTT that was tried, or does not seem to, and is tried again at once in another
    /// one: in place of [`Disconnected`](Self::Disconnected), with [`Options::fall_back`](crate::Options::fall_back).
    VersionRefused {
        /// How the attempt ended.
        cause: ConnectionError,
        /// The version of the next attempt.
        next: ProtocolVersion,
    },
    /// The server sent AUTH (section 4.12). Continue authentication is to be answered by
    /// [`Client::authenticate`](crate::Client::authenticate); Success ends an authentication that this client started.
    Auth(Box<Auth>),
    /// A subscription that the server lost with its session could not be made again: `queue` gets no messages for `filter`
    /// any more, until it is subscribed again.
    NotResubscribed {
        /// Where its messages went.
        queue: QueueId,
        /// What was subscribed.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
    },
    /// UNSUBACK has ended the last subscription of a queue, or the connection has ended without it and UNSUBSCRIBE is not
    /// sent again: the queue gets no messages any more until something is subscribed for it again. Never for the default
    /// queue.
    Unsubscribed(QueueId),
    /// A queue of received messages is no longer empty; see [`Client::next_message`](crate::Client::next_message).
    MessageReady(QueueId),
    /// A queue has overflown and lost a message, the first since its reader asked with
    /// [`Client::take_lost`](crate::Client::take_lost).
    Lagged(QueueId),
    /// A queue was [closed](crate::Client::close_queue) with messages in it that the application was to acknowledge and had
    /// not taken. They have been acknowledged, so the server does not send them again.
    Discarded {
        /// Which queue it was.
        queue: QueueId,
        /// What was subscribed for it.
        filters: Vec<TopicFilter>,
        /// How many messages.
        messages: u64,
    },
    /// The publish that was refused last as [`InvalidPublish::QueueFull`] under
    /// [`OutgoingPolicy::Wait`](crate::OutgoingPolicy::Wait) would be accepted now: try it again.
    OutgoingRoom,
    /// An operation ended. Exactly one for each accepted operation that was not abandoned.
    Completed {
        /// Which.
        op: OpId,
        /// How.
        outcome: Outcome,
    },
    /// A message that a store has ended: one that was [published with its key](crate::Client::publish_recorded), or is in a
    /// session that was [restored](crate::Session::restore). Exactly one for each, from whichever client has the session
    /// then.
    Ended {
        /// The message.
        key: u64,
        /// How. A connection's end is none for such a message, so it is never [`Outcome::Disconnected`].
        outcome: Outcome,
    },
    /// The transport of a connection whose end was reported has ended before all was written, or a store that packets wait for has
    /// failed: beside those that [`Disconnected`](Self::Disconnected) counts, these QoS 0 publishes were reported as sent, and
    /// never handed to the transport.
    Unflushed {
        /// How many.
        messages: u64,
    },
    /// No connection follows, and publishes of QoS 1 and 2 that no caller waited for
    /// ([`abandon`](crate::Client::abandon), [`retain_callers`](crate::Client::retain_callers)) have no outcome. Those with a
    /// caller end as [`Completed`](Self::Completed). What a store has is not counted: it stays there.
    Unawaited {
        /// Those that were never sent. They are dropped.
        not_sent: usize,
        /// Those that were on the wire. They stay in the session.
        unknown: usize,
    },
    /// The server broke a rule, and the client, which is not [strict](crate::Options::strict), tolerates it. Reported
    /// once for each kind on each connection.
    Tolerated {
        /// What it did.
        slip: Slip,
    },
    /// No queue has claimed messages [in time](crate::Options::claim_within), and they have gone to the default queue, which
    /// acknowledges them as [its options](crate::Options::incoming) say. Later ones of the same connection go there at once,
    /// and are only counted, in [`Stats::unclaimed`](crate::Stats::unclaimed).
    Unclaimed {
        /// How many messages.
        messages: u64,
    },
    /// The server refused a QoS 1 or 2 message: PUBACK or PUBREC has a Reason Code of 0x80 or above (MQTT-4.4.0-2). Reported
    /// right before its outcome, and also for a message that no caller waits for, which has none.
    PublishRefused {
        /// Its topic.
        topic: TopicName,
        /// The server's Reason Code.
        reason: ReasonCode,
        /// The operation whose [`Completed`](Self::Completed) follows, if a caller waits for it.
        op: Option<OpId>,
        /// The key of a [recorded](crate::Client::publish_recorded) message, whose [`Ended`](Self::Ended) follows.
        key: Option<u64>,
    },
    /// The server refused to end a subscription: UNSUBACK has a Reason Code of 0x80 or above for this filter (5.0, section
    /// 3.11.3), so it goes on to send its messages; or a limit of the server forbids to ask. Reported right before the outcome of the UNSUBSCRIBE, and also for one that
    /// no caller waits for, which has none.
    NotUnsubscribed {
        /// What is still subscribed.
        filter: TopicFilter,
        /// Who has refused to end it, and why.
        refusal: FilterRefusal,
        /// The operation whose [`Completed`](Self::Completed) follows, if a caller waits for it.
        op: Option<OpId>,
    },
    /// One connection after another ends while QoS 1 and 2 messages are in flight, and the server acknowledges none of them in
    /// between, so one of them may be the reason. Reported once until the next acknowledgement.
    ///
    /// On 5.0 this follows the second DISCONNECT with Packet too large, Payload format invalid, Retain not supported or QoS
    /// not supported. From then on the client sends one message at a time, to find the reason. Before 5.0, where a server
    /// only closes the connection, this follows the third end in a row, and the messages are sent again as before.
    MessageSuspected {
        /// Topic of the oldest of them.
        topic: TopicName,
        /// How many they are.
        messages: usize,
        /// How many connections have ended like this.
        ends: u32,
        /// The Reason Code of the last DISCONNECT; `None` before 5.0.
        reason: Option<ReasonCode>,
    },
    /// The server answered a QoS 1 or 2 message that was alone in flight by ending the connection, and it was at least the third
    /// such end. The message has left the session and is not sent again. Its operation, if its caller still waits, ends
    /// as [`Outcome::Refused`].
    MessageRefused {
        /// Its topic.
        topic: TopicName,
        /// Its Packet Identifier, which stays unused until the session ends.
        packet_id: PacketId,
        /// The Reason Code of the last DISCONNECT.
        reason: ReasonCode,
    },
    /// Another client has the same Client Identifier, so that the server ends one connection for the other: it has said so
    /// (5.0), or three connections in a row were accepted and closed without a reason within ten seconds each. Reported before
    /// the [`Disconnected`](Self::Disconnected) of the last of them, and again only after a connection that ended otherwise,
    /// or when the server says so again.
    IdentifierContested(Contest),
    /// A QoS 2 message came without the DUP flag under the Packet Identifier of an earlier one that was not released, in a session
    /// that the server may have lost without saying so: it is handed out as a new message. It is the earlier message again, a
    /// duplicate, only if the server broke MQTT-3.3.1-1; to take it for that could lose a message.
    PossibleDuplicate {
        /// Its topic.
        topic: TopicName,
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// The store of one direction has failed, as it [reported](crate::Client::journal_failed).
    StoreFailed {
        /// Which row of the journal.
        direction: Direction,
    },
    /// A queue under [`Overflow::Wait`](crate::Overflow::Wait) has been full for 5 s, and withholds acknowledgements: in
    /// time the server sends nothing to any queue. Reported again after the queue has withheld none in between.
    Stalled(QueueId),
    /// The application has many received messages to acknowledge
    /// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)), and for 5 s it has acknowledged none and the server
    /// has sent no QoS 1 or 2 message: the server may be waiting. Reported once for a connection, from 10 unacknowledged
    /// messages on, which is the smallest window that servers have by default, or from fewer if the Receive Maximum announced
    /// is lower.
    Unacknowledged {
        /// How many messages of this connection are not acknowledged.
        messages: usize,
    },
    /// A full queue under [`Overflow::Wait`](crate::Overflow::Wait) has lost a QoS 0 message, because its reader had not
    /// [asked](crate::Client::next_message) for 5 s. It holds back no input until it is read again.
    Forgotten(QueueId),
}

/// The server's answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Session Present: the server resumed the session.
    pub session_present: bool,
    /// CONNACK properties (5.0).
    pub properties: Properties,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A QoS 0 publish was handed to the transport.
    Sent,
    /// A QoS 1 or 2 publish was acknowledged with a Reason Code below 0x80.
    Acknowledged {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Its properties, if any.
        properties: Option<Box<Properties>>,
        /// The server had lost the session, and the message was published again: it may have come twice.
        resent_as_new: bool,
    },
    /// A [request](crate::Client::request) was answered by this message.
    Responded(Box<Message>),
    /// The subscription that the response to a request would have come by was refused, or not renewed.
    Unanswerable {
        /// Who has refused the subscription, and why.
        refusal: FilterRefusal,
        /// Whether the request itself may have arrived.
        delivery: Delivery,
    },
    /// SUBACK came.
    Subscribed {
        /// One Reason Code a filter, failures included.
        reasons: Vec<ReasonCode>,
        /// SUBACK properties, if any.
        properties: Option<Box<Properties>>,
    },
    /// UNSUBACK came.
    Unsubscribed {
        /// One Reason Code a filter; none before 5.0.
        reasons: Vec<ReasonCode>,
        /// UNSUBACK properties, if any.
        properties: Option<Box<Properties>>,
    },
    /// The server refused a publish: PUBACK or PUBREC with 0x80 or above (MQTT-4.4.0-2); or one DISCONNECT after another
    /// while it was in flight ([`Event::MessageRefused`]).
    Refused {
        /// The server's Reason Code.
        reason: ReasonCode,
        /// Its properties, if any; of a DISCONNECT the Reason String and the User Properties.
        properties: Option<Box<Properties>>,
    },
    /// A limit of the server that was learnt only after the operation had been accepted forbids it. Nothing was sent.
    NotPossible(InvalidPublish),
    /// The same for a SUBSCRIBE or UNSUBSCRIBE.
    RequestNotPossible(InvalidSubscribe),
    /// The limits of a later connection forbid to send again what an earlier one carried. Delivery is unknown.
    GivenUp(InvalidPublish),
    /// The outgoing queue was full, and its [policy](crate::OutgoingPolicy) dropped the message, which never was on the wire;
    /// or the queue that a SUBSCRIBE was to feed was closed while there was no connection to ask on, or none any more.
    Dropped,
    /// The Message Expiry Interval was over before the message could be sent. It never was on the wire.
    Expired,
    /// A newer message to the same topic has taken its place in a queue that keeps only the latest one. It never was on the
    /// wire. For messages of a store, which reports this itself.
    Replaced,
    /// The connection ended, and none will be made by itself.
    Disconnected {
        /// Why it ended.
        cause: ConnectionError,
        /// Whether anything reached the wire.
        delivery: Delivery,
    },
    /// The server lost the session while a QoS 2 publish was on its way, or a QoS 1 publish that was
    /// to be sent again as a new one has expired since. Delivery is unknown.
    SessionLost,
    /// The server lost the session while a QoS 2 message of a [store](crate::Client::publish_recorded) was on its way, or may
    /// have: the process that had sent it ended before CONNACK was on record. In that case the exchange has been completed. Delivery
    /// is unknown, and it is not sent again: the store keeps it apart until somebody decides.
    Uncertain,
    /// A message of a store will not get through, and is kept apart there until somebody decides: see [`QuarantineReason`].
    Quarantined {
        /// Why.
        why: QuarantineReason,
    },
    /// The store [failed](crate::Client::journal_failed), so a QoS 2 message cannot go on. The acceptance of a message may be
    /// on record all the same: then the store has it still.
    NotStored {
        /// [`NotSent`](Delivery::NotSent): it was never on the wire. [`Unknown`](Delivery::Unknown): it was, in this session or
        /// a lost one; if the server has answered by PUBREC, the exchange goes on when the store works again.
        delivery: Delivery,
    },
    /// The server took over a QoS 2 message by PUBREC (MQTT-4.3.3-8), and then did not know its Packet Identifier: PUBCOMP has
    /// Packet Identifier not found (0x92) for a PUBREL that was sent once. Its session state and the client's do not match
    /// (section 3.7.2.1), and the exchange is over. Delivery is unknown. (For a PUBREL that was sent again by a later
    /// connection that answer is no error: then the message is [`Acknowledged`](Self::Acknowledged).)
    Unreleased {
        /// PUBCOMP's properties, if any.
        properties: Option<Box<Properties>>,
    },
}

/// Why a message is kept in the quarantine of a store, where it is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QuarantineReason {
    /// The server refuses it, with a Reason Code that will not get better.
    Refused(u8),
    /// It is larger than the server's Maximum Packet Size.
    TooLarge,
    /// It was the last one sent when several connections in a row ended.
    EndsConnections,
    /// QoS 2: the session was lost before it was acknowledged, so the server may have it or not.
    Uncertain,
}

impl fmt::Display for QuarantineReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => match ReasonCode::from_value(*code) {
                Some(reason) => write!(f, "the server refuses it: {reason}"),
                None => write!(f, "the server refuses it (0x{code:02X})"),
            },
            Self::TooLarge => f.write_str("it is larger than the server's Maximum Packet Size"),
            Self::EndsConnections => {
                f.write_str("the server closes the connection each time it comes")
            }
            Self::Uncertain => f.write_str(
                "the server lost the session while it was on its way, so it may have arrived",
            ),
        }
    }
}

/// Whether an operation that did not succeed may have reached the server all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It never reached the wire.
    NotSent,
    /// It was on the wire; what became of it is unknown. A QoS 1 or 2 publish stays in the session.
    Unknown,
}

/// What the driver is to do with its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportRequest {
    /// Open one, then call `transport_opened`, or `transport_closed` when that failed.
    Open {
        /// To which server.
        server: ServerChoice,
        /// 0 for the attempt that `connect()` makes, 1 for the first after a stable connection; grows with each that failed.
        attempt: u32,
    },
    /// Write all that was handed over; then end this side of the transport, where its layer can do that and go on reading
    /// (a half-close in TCP, a Close frame in WebSocket); then call `transport_finished`. What comes in is still handed to
    /// `handle_input`. When the transport ends, or fails, call `transport_closed`.
    Finish,
    /// Close it in order (in TLS with close_notify), without waiting for anything to be read, then call `transport_closed`.
    Close,
    /// Drop it at once, with all that is not written yet, then call `transport_closed`.
    Abort,
}
