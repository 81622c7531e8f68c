//! What happens to a connection, as a stream: connected, lost, and what was lost with it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use futures_core::Stream;

use crate::shared::Shared;
use crate::{ConnectionError, Contest, Properties, ReasonCode, Slip, TopicFilter, TopicName};

/// How many events are kept for those who have not taken them yet.
const KEPT: usize = 64;

/// How many bytes of properties they may hold together. The latest event is kept however large it is.
const KEPT_BYTES: usize = 1 << 20;

/// Something that happened to a connection. From [`Client::events`](crate::Client::events).
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
        /// When the next attempt is made; `None` when none will be.
        retry_at: Option<Instant>,
        /// QoS 0 messages that were reported as sent, but had not been handed to the transport.
        unflushed: u64,
    },
    /// The server has lost the session, and this subscription could not be made anew: no messages come for it any more.
    NotRestored {
        /// What was subscribed.
        filter: TopicFilter,
        /// The server's Reason Code, or the one that stands for the limit of the server that forbids to ask.
        reason: ReasonCode,
    },
    /// Messages were lost: a full queue had no room for them, for the first time since its reader has asked with
    /// [`Messages::take_lost`](crate::Messages::take_lost); or a stream was dropped or unsubscribed before its application
    /// had taken, and acknowledged, them all ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)).
    Lagged {
        /// The filters of the stream; none for [`Client::messages`](crate::Client::messages).
        filters: Vec<TopicFilter>,
        /// How many. A full queue may go on to lose more: [`Messages::take_lost`](crate::Messages::take_lost) tells them all.
        /// 0 when its reader has asked already.
        lost: u64,
    },
    /// So many events were not taken in time, and are gone: the oldest ones.
    Missed(u64),
    /// QoS 0 messages that were reported as sent were never handed to the transport, beside those that
    /// [`Disconnected`](Self::Disconnected) has counted: it failed while the connection was being closed. Behind the last
    /// `Disconnected` only [`Stats::unflushed`](crate::Stats::unflushed) counts them.
    Unflushed {
        /// How many.
        messages: u64,
    },
    /// The server broke a rule of MQTT, and the client, which is not [strict](crate::Options::strict), tolerates it. Told once
    /// for each kind on each connection.
    Tolerated {
        /// What it did, and what is made of it.
        slip: Slip,
    },
    /// No stream has claimed messages of the session [in time](crate::Options::claim_within). They have gone to
    /// [`Client::messages`](crate::Client::messages), and are acknowledged. Either the session has a subscription that the
    /// program no longer uses, which [`Client::unsubscribe`](crate::Client::unsubscribe) ends, or its stream was opened too
    /// late.
    ///
    /// Later ones of the same connection are only counted, in [`Stats::unclaimed`](crate::Stats::unclaimed).
    Unclaimed {
        /// How many.
        messages: u64,
    },
    /// The server has refused a subscription that was [declared in the options](crate::Options::subscription), and whose
    /// stream nobody has taken yet: [`Client::declared`](crate::Client::declared) will fail.
    NotSubscribed {
        /// What was to be subscribed.
        filter: TopicFilter,
        /// The server's Reason Code.
        reason: ReasonCode,
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
    /// [`PublishError::Rejected`](crate::PublishError::Rejected).
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
    /// A full stream has withheld acknowledgements for 5 s ([`Overflow::Wait`](crate::Overflow::Wait)): in time the server
    /// sends nothing to any stream of this connection. Comes again when the stream had room in between.
    Stalled {
        /// The filters of the stream; none for [`Client::messages`](crate::Client::messages).
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

/// The events of a connection, in their order. From [`Client::events`](crate::Client::events).
///
/// It is a [`Stream`], and has [`next`](Self::next) of its own. Each such stream gets every event. The latest 64 are kept,
/// or fewer where their properties take more than 1 MiB together; who is further behind is told how many it has [missed](ConnectionEvent::Missed). It ends behind the last
/// [`Disconnected`](ConnectionEvent::Disconnected).
pub struct Events {
    shared: Arc<Shared>,
    reader: u64,
    /// How the connection stood when this was made.
    first: Option<ConnectionEvent>,
    /// The number of the event that comes next.
    next: u64,
}

impl Events {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let mut state = shared.lock();
        let reader = state.new_reader();
        let first = state.events.standing.clone();
        let next = state.events.count;
        drop(state);
        Self {
            shared,
            reader,
            first,
            next,
        }
    }

    /// The next event; `None` when the connection has ended for good and all have been taken.
    ///
    /// # Cancel safety
    /// An event is taken only when this completes.
    pub async fn next(&mut self) -> Option<ConnectionEvent> {
        poll_fn(|cx| self.poll_event(cx.waker())).await
    }

    fn poll_event(&mut self, waker: &Waker) -> Poll<Option<ConnectionEvent>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let mut state = self.shared.lock();
        match state.events.take(&mut self.next) {
            Some(event) => Poll::Ready(Some(event)),
            None if state.has_ended() => Poll::Ready(None),
            None => {
                let former = state.events.readers.insert(self.reader, waker.clone());
                drop(state);
                drop(former); // not under the lock: whose waker it is, is not known
                Poll::Pending
            }
        }
    }
}

impl Stream for Events {
    type Item = ConnectionEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ConnectionEvent>> {
        self.poll_event(cx.waker())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let waker = self.shared.lock().events.readers.remove(&self.reader);
        drop(waker); // not under the lock
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// The latest events, and who waits for more.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    kept: VecDeque<ConnectionEvent>,
    /// What their properties take.
    bytes: usize,
    /// How many there have been.
    count: u64,
    /// The last one that says whether there is a connection.
    standing: Option<ConnectionEvent>,
    readers: HashMap<u64, Waker>,
}

impl Recent {
    pub(crate) fn push(&mut self, event: ConnectionEvent) {
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
    pub(crate) fn take(&self, next: &mut u64) -> Option<ConnectionEvent> {
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

    /// Those who are to be woken.
    pub(crate) fn take_readers(&mut self) -> impl Iterator<Item = Waker> {
        std::mem::take(&mut self.readers).into_values()
    }
}
