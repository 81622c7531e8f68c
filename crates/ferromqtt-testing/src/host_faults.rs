//! What a test asks a running broker for: faults, what happened, and to wait for it.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::ReasonCode;
use ferromqtt_proto::packet::{Packet, PacketType, PublishPacket};
use tokio::time::timeout;

use crate::broker::Broker;
use crate::expected::ExpectedMessages;
use crate::fault_handle::{FaultHandle, LinkHandle};
use crate::faults::{FaultError, FaultId, FaultRule};
use crate::host::TestBroker;
use crate::journal::{
    BrokerJournal, BrokerSide, JournalMessage, JournalPacket, MessageFilter, PacketFilter,
};
use crate::wire::RestartKeeps;

/// How many lines of a chart an error shows.
const CHART_LINES: usize = 30;

/// How soon [`TestBroker::idle`] looks again at clients that have something to send.
const AGAIN: Duration = Duration::from_millis(100);

/// Faults: see [`FaultRule`] for what a rule is.
///
/// # Panics
/// All but [`add_fault`](Self::add_fault) panic on a broker [that replays a recording](Self::from_recording): it makes no
/// faults, and sends nothing of its own.
impl TestBroker {
    /// Begins a rule for packets of this type that the broker sends; `None` for any. It is added with its first action:
    /// `broker.sends(PacketType::PubAck).nth(3).lose().cut()`.
    #[must_use = "a rule does nothing before it has an action"]
    pub fn sends(&self, kind: impl Into<Option<PacketType>>) -> FaultHandle<'_> {
        FaultHandle::new(&self.shared, FaultRule::sends(kind))
    }

    /// Begins a rule for packets of this type that the broker receives; `None` for any. It is added with its first action.
    #[must_use = "a rule does nothing before it has an action"]
    pub fn receives(&self, kind: impl Into<Option<PacketType>>) -> FaultHandle<'_> {
        FaultHandle::new(&self.shared, FaultRule::receives(kind))
    }

    /// Refuses the next CONNECT with this Reason Code, or the next ones: `refuse_connections(reason).times(3)`.
    ///
    /// # Panics
    /// When a CONNACK that refuses cannot carry `reason`.
    #[track_caller]
    pub fn refuse_connections(&self, reason: ReasonCode) -> FaultHandle<'_> {
        self.receives(PacketType::Connect).refuse(reason)
    }

    /// [`Broker::add_fault`].
    ///
    /// # Errors
    /// [`FaultError`] when the rule makes no sense.
    pub fn add_fault(&self, rule: FaultRule) -> Result<FaultId, FaultError> {
        self.call(|broker, now| broker.add_fault(now, rule))
    }

    /// [`Broker::unused_faults`].
    pub fn unused_faults(&self) -> Vec<FaultRule> {
        self.call(|broker, _| broker.unused_faults())
    }

    /// [`Broker::explain_unused_faults`].
    pub fn explain_unused_faults(&self) -> Vec<String> {
        self.shared.lock().broker.explain_unused_faults()
    }

    /// [`Broker::set_fault_seed`].
    #[track_caller]
    pub fn set_fault_seed(&self, seed: u64) {
        self.act(|broker, _| broker.set_fault_seed(seed));
    }

    /// The link of a client, for faults of the network.
    pub fn link(&self, client_identifier: impl Into<String>) -> LinkHandle<'_> {
        LinkHandle::new(&self.shared, client_identifier.into())
    }

    /// [`Broker::partition`]. New connections in memory fail as refused, those on a socket are closed at once; with `hangs`
    /// they are accepted, and nothing passes.
    #[track_caller]
    pub fn partition(&self, hangs: bool) {
        self.act(|broker, now| broker.partition(now, hangs));
    }

    /// [`Broker::heal`].
    #[track_caller]
    pub fn heal(&self) {
        self.act(|broker, now| broker.heal(now));
    }

    /// [`Broker::restart`]. Waits until it is up again.
    ///
    /// # Cancel safety
    /// The restart has begun when the future is first polled; dropping it stops the wait alone.
    pub async fn restart(&self, down_for: Duration, keeps: RestartKeeps) {
        self.act(|broker, now| broker.restart(now, down_for, keeps));
        tokio::time::sleep(down_for).await;
    }

    /// [`Broker::forget_session`].
    #[track_caller]
    pub fn forget_session(&self, client_identifier: &str) -> bool {
        self.act(|broker, now| broker.forget_session(now, client_identifier))
    }

    /// [`Broker::take_over`].
    #[track_caller]
    pub fn take_over(&self, client_identifier: &str) -> bool {
        self.act(|broker, now| broker.take_over(now, client_identifier))
    }

    /// [`Broker::kill_client`].
    #[track_caller]
    pub fn kill(&self, client_identifier: &str) -> bool {
        self.act(|broker, now| broker.kill_client(now, client_identifier))
    }

    /// [`Broker::send_packet`].
    #[track_caller]
    pub fn send(&self, client_identifier: &str, packet: &Packet) -> bool {
        self.act(|broker, now| broker.send_packet(now, client_identifier, packet))
    }

    /// [`Broker::send_raw`].
    #[track_caller]
    pub fn send_raw(&self, client_identifier: &str, bytes: impl Into<Bytes>) -> bool {
        self.act(|broker, now| broker.send_raw(now, client_identifier, bytes.into()))
    }

    /// [`Broker::publish`].
    #[track_caller]
    pub fn publish(&self, message: PublishPacket) {
        self.act(|broker, now| broker.publish(now, message));
    }

    /// Calls the broker, which must not replay a recording: the call would do nothing.
    #[track_caller]
    pub(crate) fn act<T>(&self, call: impl FnOnce(&mut Broker, Instant) -> T) -> T {
        self.shared.act(call)
    }

    pub(crate) fn call<T>(&self, call: impl FnOnce(&mut Broker, Instant) -> T) -> T {
        self.shared.call(call)
    }
}

/// What happened: the journal, which holds the newest 10,000 packets and as many messages unless
/// [`BrokerOptions::journal_packets`](crate::BrokerOptions::journal_packets) says something else.
impl TestBroker {
    /// The messages that the broker accepted and `filter` selects, oldest first: a Topic Filter, or a [`MessageFilter`].
    pub fn published(&self, filter: impl Into<MessageFilter>) -> Vec<JournalMessage> {
        let filter = filter.into();
        self.journal(|journal| {
            let messages = journal.published(&filter);
            messages.cloned().collect()
        })
    }

    /// The packets that `filter` selects, oldest first: a [`PacketType`], or a [`PacketFilter`].
    pub fn packets(&self, filter: impl Into<PacketFilter>) -> Vec<JournalPacket> {
        let filter = filter.into();
        self.journal(|journal| journal.packets(&filter).cloned().collect())
    }

    /// The CONNECT packets that came.
    pub fn connects(&self) -> Vec<JournalPacket> {
        self.packets(PacketFilter::from(PacketType::Connect).side(BrokerSide::Receives))
    }

    /// The newest 30 packets and changes of links as a sequence chart: [`BrokerJournal::chart`].
    pub fn chart(&self) -> String {
        self.journal(|journal| journal.chart(CHART_LINES))
    }

    pub(crate) fn journal<T: Default>(&self, read: impl FnOnce(&BrokerJournal) -> T) -> T {
        let state = self.shared.lock();
        state.broker.journal().map_or_else(T::default, read)
    }

    /// Waits until the broker has accepted a message that `filter` selects, or has already: see [`ExpectedMessages`].
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use ferromqtt_proto::{QoS, Utf8String};
    /// # use ferromqtt_proto::packet::PublishPacket;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
    /// let broker = ferromqtt_testing::TestBroker::new();
    /// # broker.publish(PublishPacket { dup: false, qos: QoS::AtMostOnce, retain: false, topic: Utf8String::try_from("a/b").unwrap(), packet_id: None, properties: None, payload: Bytes::from_static(b"42") });
    /// let messages = broker.wait_for("a/+").payload("42").await?;
    /// assert_eq!(&*messages[0].topic, "a/b");
    /// let error = broker.wait_for("a/+").payload("43").await.unwrap_err();
    /// assert!(error.to_string().contains(r#"payload: "42" is not "43""#), "{error}");
    /// # Ok::<_, ferromqtt_testing::NotPublished>(()) }).unwrap();
    /// ```
    pub fn wait_for(&self, filter: impl Into<MessageFilter>) -> ExpectedMessages<'_> {
        ExpectedMessages::new(self, filter.into())
    }

    /// Waits until nothing is to be done: no message is queued for a connected client or in flight, no byte or packet is
    /// on its way in the broker, in a link, or in a connection in memory, and no client made by `Options::test` of the crate
    /// `ferromqtt` has a message that is not sent and acknowledged to the end. So it waits for a client that is about to connect
    /// again with what it could not send.
    ///
    /// Other tasks get to run before each look, so that a client writes what was published a moment ago. It sees neither what is
    /// on its way in a socket, nor what the program is about to do later: a client that waits to connect again and has nothing
    /// to send leaves the broker idle. It waits as long as that takes, for example for a client that does not read:
    /// bound it by `tokio::time::timeout`.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub async fn idle(&self) {
        loop {
            // A QoS 0 publish returns before the client's task has written it.
            tokio::task::yield_now().await;
            let mut changed = pin!(self.shared.traffic.changed.notified());
            changed.as_mut().enable(); // before the look: what happens behind it is not missed
            if self.is_idle() {
                return;
            }
            if self.shared.clients.have_outgoing() {
                // The broker does not see that a client gives a message up, or ends.
                let _ = timeout(AGAIN, changed).await;
            } else {
                changed.await;
            }
        }
    }

    /// Whether there is nothing that [`TestBroker::idle`] would wait for. A QoS 0 message that was published a moment ago is not
    /// seen when no client of `Options::test` has it: its client writes it when its task runs.
    pub fn is_idle(&self) -> bool {
        // Outside of the broker's lock: it asks the clients, behind theirs.
        !self.shared.clients.have_outgoing()
            && self.shared.lock().broker.is_idle()
            && self.shared.unsent.load(Ordering::Acquire) == 0
            && self.shared.traffic.is_empty()
    }

    /// What [`TestBroker::idle`] waits for, a line each; empty when it is idle. For a wait that took too long.
    pub fn unfinished(&self) -> Vec<String> {
        let mut lines = self.shared.lock().broker.unfinished();
        if self.shared.clients.have_outgoing() {
            lines.push(
                "a client has messages that are not sent and acknowledged to the end".to_owned(),
            );
        }
        if self.shared.unsent.load(Ordering::Acquire) > 0 {
            lines.push("a client does not read what the broker writes".to_owned());
        }
        if !self.shared.traffic.is_empty() {
            lines.push("bytes in a connection in memory that nobody has read".to_owned());
        }
        lines
    }
}
