//! What happened, for logs and hooks.

use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::{
    ConnectionError, Contest, Direction, FilterRefusal, Outcome, PacketId, PacketRecord,
    Properties, ProtocolVersion, ReasonCode, Slip, TopicFilter, TopicName, Utf8String,
};

use crate::ConnectionEvent;

/// Something that happened. [`Lines`](crate::Lines) makes log lines of facts, and a face may call its hooks for them. Those that
/// are of interest to the application are [`ConnectionEvent`]s too.
#[derive(Clone, Debug)]
pub enum Fact {
    /// A packet was written or read. Only while the core keeps records of them.
    Packet(PacketRecord),
    /// So many packets have no record: there were too many at once.
    Untraced {
        /// How many.
        packets: u64,
    },
    /// The recording of the client's packets has ended, because its sink failed. The client goes on.
    RecordingFailed {
        /// Why.
        why: Arc<str>,
    },
    /// The server has accepted a connection.
    Connected {
        /// Session Present: the server resumed the session.
        session_present: bool,
        /// The Client Identifier, if the server has chosen it.
        assigned: Option<Utf8String>,
        /// CONNACK properties without Authentication Data.
        properties: Box<Properties>,
    },
    /// There is no connection any more, or an attempt to make one has failed.
    Disconnected {
        /// Why.
        cause: ConnectionError,
        /// Where that connection or attempt led to, in the words of [`Engine::begin_attempt`](crate::Engine::begin_attempt).
        address: Arc<str>,
        /// The server at this address has accepted a connection since the engine was started.
        has_accepted: bool,
        /// When the next attempt is made; `None` when none will be.
        retry_at: Option<Instant>,
        /// QoS 0 messages that were reported as sent and had not been handed to the transport.
        unflushed: u64,
        /// The server had accepted this connection.
        established: bool,
    },
    /// The server does not speak the version of MQTT that was tried, or does not seem to, and is tried again at once in another
    /// one.
    VersionRefused {
        /// How the attempt ended.
        cause: ConnectionError,
        /// Where it led to.
        address: Arc<str>,
        /// The version of the next attempt.
        next: ProtocolVersion,
    },
    /// A subscription that the server has lost could not be made again.
    NotResubscribed {
        /// What was subscribed.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
    },
    /// A queue has lost messages.
    Lost {
        /// The filters of the queue; none for the default one.
        filters: Vec<TopicFilter>,
        /// How many; 0 when its reader has asked already.
        lost: u64,
        /// Nobody reads the queue, which [`Forgotten`](Self::Forgotten) reports.
        forgotten: bool,
    },
    /// A queue was closed with messages in it that the program was to acknowledge and had not taken. They are acknowledged.
    LeftBehind {
        /// The filters of the queue.
        filters: Vec<TopicFilter>,
        /// How many.
        messages: u64,
    },
    /// QoS 0 messages were never handed to the transport, which failed while the connection was being closed.
    Unflushed {
        /// How many.
        messages: u64,
    },
    /// No connection follows, and QoS 1 and 2 messages that no caller waited for have no outcome.
    Unawaited {
        /// Those that were never sent, and are dropped.
        not_sent: usize,
        /// Those that were on the wire. The session keeps them.
        unknown: usize,
    },
    /// The server broke a rule that is tolerated.
    Tolerated {
        /// What it did.
        slip: Slip,
    },
    /// Messages of the session went to the default queue, because no queue claimed them in time.
    Unclaimed {
        /// How many.
        messages: u64,
    },
    /// A declared subscription that nobody has taken yet was refused.
    NotSubscribed {
        /// What was to be subscribed.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
    },
    /// The server refused to end a subscription by its UNSUBACK, or its limits forbid to ask, and no caller learns that: the
    /// queue was dropped, the caller gave up, or [its call does not say so](crate::Engine::unsubscribe_unheeded).
    NotUnsubscribed {
        /// What is still subscribed.
        filter: TopicFilter,
        /// Who has refused to end it, and why.
        refusal: FilterRefusal,
    },
    /// A message in flight is suspected to make the server end connections.
    MessageSuspected {
        /// Topic of the oldest message in flight.
        topic: TopicName,
        /// How many are in flight.
        messages: usize,
        /// How many connections have ended like this.
        ends: u32,
        /// The Reason Code of the last DISCONNECT, if any.
        reason: Option<ReasonCode>,
    },
    /// The server ended connections because of a message, which is given up.
    MessageRefused {
        /// Its topic.
        topic: TopicName,
        /// The Reason Code of the last DISCONNECT.
        reason: ReasonCode,
    },
    /// The server refused a QoS 1 or 2 message by its PUBACK or PUBREC, and no caller waits for the outcome: its receipt was
    /// dropped, or the caller gave up.
    PublishRefused {
        /// Its topic.
        topic: TopicName,
        /// The server's Reason Code.
        reason: ReasonCode,
    },
    /// A message of the outgoing queue has ended that nobody waits for: without a token, or with one that [is
    /// gone](crate::Tokens::is_gone); or one of a session that was restored.
    MessageEnded {
        /// Its key.
        key: u64,
        /// How.
        outcome: Outcome,
    },
    /// Another client has, or seems to have, the same Client Identifier.
    IdentifierContested(Contest),
    /// A full queue has withheld acknowledgements for 5 s.
    Stalled {
        /// The filters of the queue; none for the default one.
        filters: Vec<TopicFilter>,
    },
    /// A full queue that nobody reads has lost a QoS 0 message, and holds up no others any more.
    Forgotten {
        /// The filters of the queue; none for the default one.
        filters: Vec<TopicFilter>,
    },
    /// A responder's subscription has brought a message that asks for no response, and that the responder does not get.
    PassedOver {
        /// Its topic.
        topic: TopicName,
    },
    /// A QoS 2 message was handed out that may be an earlier one again: its session may be lost, and its Packet Identifier is that
    /// of one that was not released. To take it for that one could lose a message.
    PossibleDuplicate {
        /// Its topic.
        topic: TopicName,
        /// Its Packet Identifier.
        packet_id: PacketId,
    },
    /// The store of the session has failed.
    StoreFailed {
        /// Which row of the [journal](crate::Engine::poll_journal).
        direction: Direction,
    },
    /// The disk of the store is full: the outgoing queue accepts nothing until there is space. What it has is sent meanwhile.
    StoreFull {
        /// What the system says.
        error: Arc<str>,
    },
    /// The disk has given bytes of the store back in another form: what was in them is lost.
    StoreDamaged {
        /// Where, and what it means.
        damage: Arc<str>,
    },
    /// The server may be waiting for the application to acknowledge messages.
    Unacknowledged {
        /// How many are not acknowledged.
        messages: usize,
    },
    /// Nothing will come any more. Only [`Unflushed`](Self::Unflushed), [`Unawaited`](Self::Unawaited) and
    /// [`MessageEnded`](Self::MessageEnded) can follow.
    Ended {
        /// How many received messages full queues have lost in all.
        lost: u64,
    },
}

impl Fact {
    /// The same as an event for the application, if it is of interest to it.
    pub(crate) fn event(&self) -> Option<ConnectionEvent> {
        Some(match self.clone() {
            Self::Packet(_)
            | Self::Untraced { .. }
            | Self::RecordingFailed { .. }
            | Self::VersionRefused { .. }
            | Self::Forgotten { .. }
            | Self::PassedOver { .. }
            | Self::Unacknowledged { .. }
            | Self::PossibleDuplicate { .. }
            | Self::StoreFailed { .. }
            | Self::StoreFull { .. }
            | Self::StoreDamaged { .. }
            | Self::PublishRefused { .. }
            | Self::MessageEnded { .. }
            | Self::Unawaited { .. }
            | Self::Ended { .. } => return None,
            Self::Connected {
                session_present,
                properties,
                ..
            } => ConnectionEvent::Connected {
                session_present,
                properties,
            },
            Self::Disconnected {
                cause,
                address,
                has_accepted,
                retry_at,
                unflushed,
                established: _,
            } => ConnectionEvent::Disconnected {
                cause,
                address,
                has_accepted,
                retry_at,
                unflushed,
            },
            Self::NotResubscribed { filter, refusal } => {
                ConnectionEvent::NotResubscribed { filter, refusal }
            }
            Self::Lost { filters, lost, .. }
            | Self::LeftBehind {
                filters,
                messages: lost,
            } => ConnectionEvent::Lagged { filters, lost },
            Self::Unflushed { messages } => ConnectionEvent::Unflushed { messages },
            Self::Tolerated { slip } => ConnectionEvent::Tolerated { slip },
            Self::Unclaimed { messages } => ConnectionEvent::Unclaimed { messages },
            Self::NotSubscribed { filter, refusal } => {
                ConnectionEvent::NotSubscribed { filter, refusal }
            }
            Self::NotUnsubscribed { filter, refusal } => {
                ConnectionEvent::NotUnsubscribed { filter, refusal }
            }
            Self::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            } => ConnectionEvent::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            },
            Self::MessageRefused { topic, reason } => {
                ConnectionEvent::MessageRefused { topic, reason }
            }
            Self::IdentifierContested(contest) => ConnectionEvent::IdentifierContested(contest),
            Self::Stalled { filters } => ConnectionEvent::Stalled { filters },
        })
    }
}
