//! The events of a connection: the latest are kept for readers that have not taken them yet.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto::{
    ConnectionError, Contest, FilterRefusal, Properties, ReasonCode, Slip, TopicFilter, TopicName,
};

use crate::{Engine, Fact, Tokens, Woken};

/// How many events are kept for those who have not taken them yet.
const KEPT: usize = 64;

/// How many bytes of properties they may hold together. The latest event is kept however large it is.
const KEPT_BYTES: usize = 1 << 20;

/// Something that happened to a connection. From `Client::events`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// The server has accepted a connection.
    Connected {
        /// Session Present: the server resumed the session.
        session_present: bool,
        /// CONNACK properties (5.0): Assigned Client Identifier, the server's limits, and so on. Authentication Data, which
        /// is the authenticator's, is left out.
        properties: Box<Properties>,
    },
    /// There is no connection any more, or an attempt to make one has failed.
    Disconnected {
        /// Why.
        cause: ConnectionError,
        /// Where that connection or attempt led to: host and port, or the path of a Unix socket. Empty when none was begun.
        address: Arc<str>,
        /// Whether the server at this address has accepted a connection since the client was started: then host, port and
        /// protocol are right.
        has_accepted: bool,
        /// When the next attempt is made; `None` when none will be.
        retry_at: Option<Instant>,
        /// QoS 0 messages that were reported as sent, but had not been handed to the transport.
        unflushed: u64,
    },
    /// The server has lost the session, and this subscription could not be made again: no messages come for it any more, and
    /// its stream has it among `Messages::not_subscribed`.
    NotResubscribed {
        /// What was subscribed.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
    },
    /// Messages were lost: they did not fit into a full queue, for the first time since its reader has asked with
    /// `Messages::take_lost`; or a stream was dropped or unsubscribed before its application
    /// had taken, and acknowledged, them all (`Acknowledge::ByApplication`).
    Lagged {
        /// The filters of the stream; none for `Client::messages`.
        filters: Vec<TopicFilter>,
        /// How many when this was reported, which is at the first loss. A full queue may go on to lose more without another
        /// event, until its reader asks: `Messages::take_lost` counts them all, and `Stats::lost` those of all streams. 0 when
        /// its reader has asked already.
        lost: u64,
    },
    /// So many events were not taken in time, and are gone: the oldest ones.
    Missed(u64),
    /// QoS 0 messages that were reported as sent were never handed to the transport, beside those that
    /// [`Disconnected`](Self::Disconnected) has counted: it failed while the connection was being closed. Behind the last
    /// `Disconnected` only `Stats::unflushed` counts them.
    Unflushed {
        /// How many.
        messages: u64,
    },
    /// The server broke a rule of MQTT, and the client, which is not strict (`Options::strict`), tolerates it. Reported
    /// once for each kind on each connection.
    Tolerated {
        /// What it did, and what is made of it.
        slip: Slip,
    },
    /// No stream has claimed messages of the session in time (`Options::claim_within`). They have gone to
    /// `Client::messages`, and are acknowledged. Either the session has a subscription that the
    /// program no longer uses, which `Client::unsubscribe` ends, or its stream was opened too
    /// late.
    ///
    /// Later ones of the same connection are only counted, in `Stats::unclaimed`.
    Unclaimed {
        /// How many.
        messages: u64,
    },
    /// A subscription that was declared in the options (`Options::subscription`), and whose stream nobody has taken yet, was
    /// refused, by the server or by a limit that forbids to ask: `Client::declared` will fail.
    NotSubscribed {
        /// What was to be subscribed.
        filter: TopicFilter,
        /// Who has refused it, and why.
        refusal: FilterRefusal,
    },
    /// The server refused to end a subscription (5.0), or a limit forbids to ask, and it goes on to send its messages: they come to `Client::messages` when no stream wants them. Reported where no call returns it as its error:
    /// of a stream that was dropped, and of a call that was given up.
    NotUnsubscribed {
        /// What is still subscribed.
        filter: TopicFilter,
        /// Who has refused to end it, and why.
        refusal: FilterRefusal,
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
    /// such end. The message is not sent again. A publish that still waits for it ends as
    /// `PublishError::Rejected`.
    MessageRefused {
        /// Its topic.
        topic: TopicName,
        /// The Reason Code of the last DISCONNECT.
        reason: ReasonCode,
    },
    /// Another client has, or seems to have, the same Client Identifier, so that the server ends one connection for the other:
    /// give each client its own. On 5.0 most servers say so; else three connections in a row were accepted and closed without a
    /// reason within ten seconds each. Its text is a sentence for people. Comes before the [`Disconnected`](Self::Disconnected)
    /// of the last of them.
    IdentifierContested(Contest),
    /// A full stream has withheld acknowledgements for 5 s (`Overflow::Wait`): in time the server
    /// sends nothing to any stream of this connection. Reported again only after the stream has withheld none in between.
    Stalled {
        /// The filters of the stream; none for `Client::messages`.
        filters: Vec<TopicFilter>,
    },
}

impl ConnectionEvent {
    /// The bytes that the server's properties in it take.
    fn properties_size(&self) -> usize {
        match self {
            Self::Connected { properties, .. } => properties.memory_size(),
            Self::Disconnected {
                cause:
                    ConnectionError::Refused { properties, .. }
                    | ConnectionError::Disconnected { properties, .. },
                ..
            } => properties.memory_size(),
            _ => 0,
        }
    }
}

/// The name of a reader of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventReaderId(u64);

/// The latest events, and who waits for more.
#[derive(Debug)]
pub(crate) struct RecentEvents<R> {
    kept: VecDeque<ConnectionEvent>,
    /// What their properties take.
    bytes: usize,
    /// How many there have been.
    count: u64,
    /// The last one that says whether there is a connection.
    standing: Option<ConnectionEvent>,
    readers: HashMap<EventReaderId, R>,
    last_reader: u64,
}

impl<R> Default for RecentEvents<R> {
    fn default() -> Self {
        Self {
            kept: VecDeque::new(),
            bytes: 0,
            count: 0,
            standing: None,
            readers: HashMap::new(),
            last_reader: 0,
        }
    }
}

impl<R> RecentEvents<R> {
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &R> {
        self.readers.values()
    }

    pub(crate) fn take_tokens(&mut self) -> impl Iterator<Item = R> + use<R> {
        std::mem::take(&mut self.readers).into_values()
    }

    /// The engine is started again: how the connection stood before says nothing to a new reader.
    pub(crate) fn begin(&mut self) {
        self.standing = None;
    }

    fn push(&mut self, event: ConnectionEvent) {
        if matches!(
            event,
            ConnectionEvent::Connected { .. } | ConnectionEvent::Disconnected { .. }
        ) {
            self.standing = Some(event.clone());
        }
        self.bytes += event.properties_size();
        self.kept.push_back(event);
        self.count += 1;
        while self.kept.len() > KEPT || (self.bytes > KEPT_BYTES && self.kept.len() > 1) {
            let oldest = self.kept.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.properties_size());
        }
    }

    /// The event numbered `next`, or how many are gone since.
    fn take(&self, next: &mut u64) -> Option<ConnectionEvent> {
        let oldest = self.count - self.kept.len() as u64;
        if *next < oldest {
            let missed = oldest - *next;
            *next = oldest;
            return Some(ConnectionEvent::Missed(missed));
        }
        let event = self.kept.get(usize::try_from(*next - oldest).ok()?)?;
        *next += 1;
        Some(event.clone())
    }
}

impl<T: Tokens> Engine<T> {
    /// A new reader of events: its name, how the connection stands, if one has come about or failed already, and the number
    /// of the event that comes next.
    pub fn read_events(&mut self) -> (EventReaderId, Option<ConnectionEvent>, u64) {
        self.events.last_reader += 1;
        let reader = EventReaderId(self.events.last_reader);
        (reader, self.events.standing.clone(), self.events.count)
    }

    /// The event numbered `next`, or how many have gone since, and counts `next` on. Behind the last event, once the
    /// [connection has ended](Self::has_ended), comes none.
    pub fn take_event(&self, next: &mut u64) -> Option<ConnectionEvent> {
        self.events.take(next)
    }

    /// Wakes `token` with the next event, in place of the token that the reader has left before, which this returns.
    pub fn wait_for_event(&mut self, reader: EventReaderId, token: T::Reader) -> Option<T::Reader> {
        self.events.readers.insert(reader, token)
    }

    /// Ends the wait of a reader of events, and returns its token if it still waits.
    pub fn stop_waiting_for_events(&mut self, reader: EventReaderId) -> Option<T::Reader> {
        self.events.readers.remove(&reader)
    }

    /// Hands out a fact, and wakes the readers of events if it is one for them.
    pub(crate) fn report(&mut self, fact: Fact) {
        if let Some(event) = fact.event() {
            self.events.push(event);
            self.wake_event_readers();
        }
        self.woken.push_back(Woken::Fact(fact));
    }

    pub(crate) fn wake_event_readers(&mut self) {
        let readers = self.events.readers.drain();
        (self.woken).extend(readers.map(|(_, token)| Woken::Reader(token)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that lets the client in and sends it away again and again, with much to say, fills no memory.
    #[test]
    fn kept_events_are_bounded_by_the_bytes_of_their_properties() {
        let connected = |bytes: usize| ConnectionEvent::Connected {
            session_present: false,
            properties: Box::new(Properties {
                user_properties: vec![Default::default(); bytes / 5].into(),
                ..Properties::default()
            }),
        };
        let mut recent = RecentEvents::<u32>::default();
        let mut next = 0;
        for _ in 0..50 {
            recent.push(connected(300 << 10));
        }
        assert_eq!(recent.take(&mut next), Some(ConnectionEvent::Missed(47)));
        for _ in 0..3 {
            assert_eq!(recent.take(&mut next), Some(connected(300 << 10)));
        }
        assert_eq!(recent.take(&mut next), None);
        recent.push(connected(2 << 20)); // the only one
        assert_eq!(recent.take(&mut next), Some(connected(2 << 20)));
        for _ in 0..100 {
            recent.push(ConnectionEvent::Unflushed { messages: 1 });
        }
        assert_eq!(recent.take(&mut next), Some(ConnectionEvent::Missed(36)));
    }
}
