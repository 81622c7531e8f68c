//! Faults that somebody asks for here and now: of a link, and of the whole broker.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::ReasonCode;
use ferromqtt_proto::packet::{Disconnect, Packet, PublishPacket};

use super::lane::{LaneEnd, Traffic};
use super::{Reachable, WireLink};
use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::faults::{FaultError, FaultId, FaultRule};
use crate::journal::{BrokerJournal, BrokerSide, LinkChange, shown_client};
use crate::message::PublishedMessage;
use crate::session::SessionId;

/// What a broker still has after [`Broker::restart`]. The default is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestartKeeps {
    /// The sessions that outlive their connection, with their subscriptions and messages.
    pub sessions: bool,
    /// The retained messages.
    pub retained: bool,
}

impl RestartKeeps {
    /// As a broker that writes everything to its disk.
    pub const ALL: Self = Self {
        sessions: true,
        retained: true,
    };
}

impl Broker {
    /// Adds a rule, behind those that there are.
    ///
    /// # Errors
    /// [`FaultError`] when the rule makes no sense, or the broker replays a recording.
    pub fn add_fault(&mut self, now: Instant, rule: FaultRule) -> Result<FaultId, FaultError> {
        if self.replay().is_some() {
            return Err(FaultError::Replaying);
        }
        self.now = Some(now);
        let wire = self.wire_mut();
        let seed = wire.seed;
        wire.faults.add(now, seed, rule)
    }

    /// Puts `rule` in the place of one that was added. What that had counted goes on. `false` when there is none.
    ///
    /// # Errors
    /// [`FaultError`] when the rule makes no sense; the earlier one stays.
    pub fn change_fault(&mut self, id: FaultId, rule: FaultRule) -> Result<bool, FaultError> {
        self.wire_mut().faults.replace(id, rule)
    }

    /// Removes a rule, and releases what it holds. `false` when there is none.
    pub fn remove_fault(&mut self, now: Instant, id: FaultId) -> bool {
        self.release_fault(now, id);
        (self.wire.as_mut()).is_some_and(|wire| wire.faults.remove(id))
    }

    /// The rules, in order.
    pub fn faults(&self) -> impl Iterator<Item = (FaultId, &FaultRule)> {
        self.wire.iter().flat_map(|wire| wire.faults.rules())
    }

    /// How often a rule has fired; `None` when there is no such rule.
    pub fn fault_fired(&self, id: FaultId) -> Option<u64> {
        Some(self.wire.as_ref()?.faults.get(id)?.1)
    }

    /// The rules that never fired although they were expected to: all but those that fire always, with a probability, or are
    /// optional. A test that has some does not test what it says.
    pub fn unused_faults(&self) -> Vec<FaultRule> {
        let wire = self.wire.iter();
        wire.flat_map(|wire| wire.faults.unused().cloned())
            .collect()
    }

    /// The texts of [`Broker::unused_faults`], each with what is known of why it never fired: how many packets matched before
    /// its turn, or that the other side sent such packets. A line each, for the failure of a test.
    pub fn explain_unused_faults(&self) -> Vec<String> {
        let wire = self.wire.iter();
        wire.flat_map(|wire| wire.faults.explain_unused()).collect()
    }

    /// Lets the packets go that a rule holds ([`FaultAction::Hold`](crate::FaultAction::Hold)); returns how many those were.
    /// The rule holds further packets if it is to fire again.
    pub fn release_fault(&mut self, now: Instant, id: FaultId) -> usize {
        self.now = Some(now);
        let Some(wire) = self.wire.as_deref_mut() else {
            return 0;
        };
        let mut released = 0;
        for link in wire.link_ids() {
            let held = self.link_mut(link).map_or(0, |link| {
                link.inbound.postponed.release(id) + link.outbound.postponed.release(id)
            });
            if held > 0 {
                released += held;
                self.link_changed(now, link);
            }
        }
        released
    }

    /// Draws the random numbers of the rules that are added from now on, of garbage and of jitter, from this seed. The same
    /// seed, rules and traffic give the same faults. Default: 0.
    pub fn set_fault_seed(&mut self, seed: u64) {
        let wire = self.wire_mut();
        wire.seed = seed;
        wire.random = crate::random::Random::new(seed);
    }

    /// What happened; `None` while no journal is kept ([`BrokerOptions::journal_packets`](crate::BrokerOptions)).
    pub fn journal(&self) -> Option<&BrokerJournal> {
        match self.replay() {
            Some(replay) => Some(replay.journal()),
            None => self.wire.as_ref()?.journal.as_ref(),
        }
    }

    /// The Client Identifiers of the clients that have a link, in alphabetical order.
    pub fn linked_clients(&mut self) -> Vec<String> {
        let links = self.wire_mut().links.values();
        let open = links.filter(|link| link.host_open && !link.client.is_empty());
        let mut clients: Vec<_> = open.map(|link| link.client.to_string()).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// The newest link of a client.
    fn find_link(&mut self, client_identifier: &str) -> Option<ConnectionId> {
        let links = self.wire_mut().links.iter();
        let of_client = links.filter(|(_, link)| *link.client == *client_identifier);
        let newest = of_client.max_by_key(|&(&id, link)| (link.host_open, id));
        newest.map(|(&id, _)| id)
    }

    /// Lets what a change of a link sets free go on, and the host know.
    pub(super) fn link_changed(&mut self, now: Instant, id: ConnectionId) {
        self.run_inbound(now, id);
        if let Some(wire) = self.wire.as_deref_mut() {
            wire.announce(id);
        }
        self.handle_link_timeout(now, id);
    }

    /// Does something to the newest link of a client; `false` when it has none.
    fn on_link(
        &mut self,
        now: Instant,
        client_identifier: &str,
        act: impl FnOnce(&mut Self, ConnectionId),
    ) -> bool {
        self.now = Some(now);
        let found = self.find_link(client_identifier);
        found.map(|id| act(self, id)).is_some()
    }

    /// Changes the link of a client; `false` when it has none.
    fn change_link(
        &mut self,
        now: Instant,
        client_identifier: &str,
        change: impl FnOnce(&mut WireLink),
    ) -> bool {
        self.on_link(now, client_identifier, |broker, id| {
            if let Some(link) = broker.link_mut(id) {
                change(link);
            }
            broker.link_changed(now, id);
        })
    }

    /// Ends a client's link at once, as when the network breaks: what was on its way is lost, and the will is published.
    /// `false` when the client has no link.
    pub fn cut_link(&mut self, now: Instant, client_identifier: &str, reset: bool) -> bool {
        let end = LaneEnd::of_cut(reset);
        self.on_link(now, client_identifier, |broker, id| {
            broker.sever(now, id, end)
        })
    }

    /// Lets nothing pass any more on a client's link, in either direction, and tells neither side: what a router that forgot
    /// the connection does. The broker goes by its Keep Alive, the client by its own. `false` when the client has no link.
    pub fn half_open_link(&mut self, now: Instant, client_identifier: &str) -> bool {
        self.on_link(now, client_identifier, |broker, id| {
            if let Some(link) = broker.link_mut(id) {
                link.half_open = true;
                link.inbound.discard();
                link.outbound.discard();
                link.arrived.clear();
            }
            let wire = broker.wire_mut();
            wire.note_lost(id);
            wire.note_link(now, id, LinkChange::HalfOpen);
        })
    }

    /// Stops or starts one direction of a client's link. What is stopped is not lost: the sender has to wait, as it does for a
    /// peer that does not read. `false` when the client has no link.
    pub fn stall_link(
        &mut self,
        now: Instant,
        client_identifier: &str,
        side: BrokerSide,
        stalled: bool,
    ) -> bool {
        self.change_link(now, client_identifier, |link| {
            match (&mut link.frozen, side) {
                (Some([inbound, _]), BrokerSide::Receives) => *inbound = stalled,
                (Some([_, outbound]), BrokerSide::Sends) => *outbound = stalled,
                (None, side) => link.lane(side).conditions.stalled = stalled,
            };
        })
    }

    /// Lets so many bytes a second pass in each direction of a client's link, from now on; `None` lifts the limit. `false` when the
    /// client has no link.
    pub fn limit_link(
        &mut self,
        now: Instant,
        client_identifier: &str,
        bytes_per_second: Option<NonZeroU32>,
    ) -> bool {
        self.change_link(now, client_identifier, |link| {
            for side in [BrokerSide::Sends, BrokerSide::Receives] {
                link.lane(side).conditions.rate = bytes_per_second;
            }
        })
    }

    /// Lets what is sent from now on take so long in each direction of a client's link, at most `jitter` more or less. Order
    /// is kept. `false` when the client has no link.
    pub fn slow_link(
        &mut self,
        now: Instant,
        client_identifier: &str,
        latency: Duration,
        jitter: Duration,
    ) -> bool {
        self.change_link(now, client_identifier, |link| {
            for side in [BrokerSide::Sends, BrokerSide::Receives] {
                let conditions = &mut link.lane(side).conditions;
                conditions.latency = latency.min(LONGEST_LATENCY);
                conditions.jitter = jitter.min(LONGEST_LATENCY);
            }
        })
    }

    /// Cuts a client's link behind the next `bytes` bytes of one direction, in the middle of a packet or not. `false` when the
    /// client has no link.
    pub fn cut_link_after(
        &mut self,
        now: Instant,
        client_identifier: &str,
        side: BrokerSide,
        bytes: usize,
    ) -> bool {
        self.change_link(now, client_identifier, |link| {
            link.lane(side).conditions.cut_after = Some(bytes);
        })
    }

    /// Cuts the broker off: nothing passes on any link, and no end of one either, until [`Broker::heal`]. What is sent
    /// meanwhile arrives then, as TCP sends it again. New connections are refused, or hang: they are accepted, and nothing
    /// passes.
    pub fn partition(&mut self, now: Instant, hangs: bool) {
        self.now = Some(now);
        let wire = self.wire_mut();
        wire.reachable = Reachable::Partitioned { hangs };
        wire.links.values_mut().for_each(WireLink::freeze);
    }

    /// Ends a partition, or the time that the broker is down.
    pub fn heal(&mut self, now: Instant) {
        self.now = Some(now);
        let wire = self.wire_mut();
        wire.reachable = Reachable::Yes;
        wire.links.values_mut().for_each(WireLink::thaw);
        for id in wire.link_ids() {
            self.link_changed(now, id);
        }
    }

    /// Whether a new connection would reach the broker. A host refuses one that would not; [`Broker::open`] closes it at once.
    pub fn is_reachable(&self, now: Instant) -> bool {
        match self.wire.as_ref().map_or(Reachable::Yes, |it| it.reachable) {
            Reachable::Yes => true,
            Reachable::Down(until) => now >= until,
            Reachable::Partitioned { hangs } => hangs,
        }
    }

    /// Restarts the broker: every link is reset, nothing is published of wills, and what `keeps` leaves out is gone. New
    /// connections are refused for `down_for`.
    pub fn restart(&mut self, now: Instant, down_for: Duration, keeps: RestartKeeps) {
        self.now = Some(now);
        let wire = self.wire_mut();
        wire.reachable = match now.checked_add(down_for) {
            Some(until) if !down_for.is_zero() => Reachable::Down(until),
            _ => Reachable::Yes,
        };
        for id in wire.link_ids() {
            self.end_connection(now, id, None, false);
            self.sever(now, id, LaneEnd::Reset);
        }
        self.stop_remembering(keeps);
    }

    /// Forgets a client's session, as a broker that lost its data does, and cuts its link if it has one. No will is published.
    /// `false` when there is no session.
    pub fn forget_session(&mut self, now: Instant, client_identifier: &str) -> bool {
        self.now = Some(now);
        let Some(session) = self.sessions.find(client_identifier) else {
            return false;
        };
        if let Some(state) = self.sessions.get_mut(session) {
            state.delayed_will = None;
            if let Some(id) = state.connection {
                self.wire_mut();
                self.end_connection(now, id, None, false);
                self.sever(now, id, LaneEnd::Cut);
            }
        }
        self.end_session(now, session);
        true
    }

    /// Does to a client what another one does that connects with its Client Identifier: it is disconnected with Session taken
    /// over, and its will is published. Its session stays. `false` when it is not connected.
    pub fn take_over(&mut self, now: Instant, client_identifier: &str) -> bool {
        self.now = Some(now);
        let Some(session) = self.sessions.find(client_identifier) else {
            return false;
        };
        let Some(id) = self.sessions.get(session).and_then(|it| it.connection) else {
            return false;
        };
        let farewell = Disconnect::because(ReasonCode::SessionTakenOver);
        self.end_connection(now, id, Some(farewell), true);
        true
    }

    /// Resets a client's link, as when its process is killed. Its will is published at once, without its Will Delay Interval.
    /// `false` when the client has no link.
    pub fn kill_client(&mut self, now: Instant, client_identifier: &str) -> bool {
        if !self.cut_link(now, client_identifier, true) {
            return false;
        }
        let delayed = (self.sessions.find(client_identifier))
            .and_then(|session| self.sessions.get_mut(session)?.delayed_will.take());
        if let (Some((_, will)), Some(session)) = (delayed, self.sessions.find(client_identifier)) {
            self.publish_will(now, will, session);
        }
        true
    }

    /// Sends a client a packet that the broker would not, coded by the version of its link. The rules see it. `false` when the
    /// client has no link.
    pub fn send_packet(&mut self, now: Instant, client_identifier: &str, packet: &Packet) -> bool {
        self.on_link(now, client_identifier, |broker, id| {
            let version = broker.link_mut(id).map(|link| link.version);
            if let (Some(connection), Some(version)) = (broker.connections.get_mut(&id), version) {
                connection.output.packet(packet, version, usize::MAX);
                broker.announce_output(id);
            }
        })
    }

    /// Sends a client these bytes, past all rules and behind what was sent before. `false` when the client has no link.
    pub fn send_raw(&mut self, now: Instant, client_identifier: &str, bytes: Bytes) -> bool {
        self.on_link(now, client_identifier, |broker, id| {
            broker.cut_waiting(now, id);
            if let Some((link, random)) = broker.link_and_random(id) {
                (link.outbound).send(now, random, Traffic::Bytes(bytes, None));
            }
            broker.link_changed(now, id);
        })
    }

    /// Publishes a message as if a client had, to all that subscribe to it. Its Packet Identifier, DUP and Topic Alias do not
    /// matter.
    pub fn publish(&mut self, now: Instant, mut message: PublishPacket) {
        self.now = Some(now);
        if let Some(properties) = &mut message.properties {
            properties.topic_alias = None;
        }
        let message = PublishedMessage::from_publish(now, message, SessionId(0)); // no session has this number
        self.route(now, &message);
    }

    /// Whether the host should read no more of a connection for now: its link is stalled, or backed up. A host that reads on
    /// loses nothing, but a link holds [`BrokerOptions::maximum_postponed`](crate::BrokerOptions) bytes at most; beyond them
    /// the oldest goes on.
    pub fn input_paused(&self, id: ConnectionId) -> bool {
        let link = self.wire.as_ref().and_then(|wire| wire.links.get(&id));
        link.is_some_and(|link| !link.half_open && link.inbound.is_backed_up())
    }

    /// Whether the connection that [`Broker::poll_close`] named last is to be reset, and not to be closed in order.
    pub fn closes_by_reset(&self, id: ConnectionId) -> bool {
        (self.wire.as_ref()).is_some_and(|wire| wire.resets == Some(id))
    }

    /// How many bytes faults delay or hold back, with 128 beside each packet: at most
    /// [`BrokerOptions::maximum_postponed`](crate::BrokerOptions) and a packet in each direction of a link, and as much on the way.
    pub fn postponed_bytes(&self) -> usize {
        let links = self.wire.iter().flat_map(|wire| wire.links.values());
        links.map(|it| it.inbound.held() + it.outbound.held()).sum()
    }

    /// Whether there is nothing to do before somebody does something or a deadline of MQTT passes: no message is queued for a
    /// connected client or in flight, nothing is unsent, no packet is held back or on its way through a link, and no
    /// connection is in the middle of its handshake or end. A broker that replays a recording is idle while it waits for a client.
    pub fn is_idle(&self) -> bool {
        if let Some(replay) = self.replay() {
            return replay.is_idle();
        }
        self.sessions.are_idle()
            && self.connections.values().all(|it| it.is_idle())
            && (self.wire.iter().flat_map(|it| it.links.values())).all(WireLink::is_idle)
    }
}

impl Broker {
    /// What keeps the broker from being [idle](Self::is_idle), a line each; empty when it is. For the failure of a test.
    pub fn unfinished(&self) -> Vec<String> {
        if let Some(replay) = self.replay() {
            let busy = "the replay has something to send";
            return (!replay.is_idle())
                .then(|| busy.to_owned())
                .into_iter()
                .collect();
        }
        let links = self.wire.iter().flat_map(|wire| &wire.links);
        let links = links.flat_map(|(&id, link)| link.unfinished(id));
        let mut lines: Vec<_> = links.chain(self.sessions.unfinished()).collect();
        let open = self.connections.values().filter(|it| !it.is_idle()).count();
        if open > 0 {
            lines.push(format!(
                "{open} connections have unsent output, or are in the middle of their handshake or end"
            ));
        }
        lines
    }
}

/// A year: it can be added to any time.
const LONGEST_LATENCY: Duration = Duration::from_secs(365 * 24 * 3600);

impl WireLink {
    /// Stops both directions until [`WireLink::thaw`].
    pub(super) fn freeze(&mut self) {
        if self.frozen.is_none() {
            let lanes = [&mut self.inbound, &mut self.outbound];
            self.frozen =
                Some(lanes.map(|lane| std::mem::replace(&mut lane.conditions.stalled, true)));
        }
    }

    pub(super) fn thaw(&mut self) {
        if let Some([inbound, outbound]) = self.frozen.take() {
            self.inbound.conditions.stalled = inbound;
            self.outbound.conditions.stalled = outbound;
        }
    }

    fn is_idle(&self) -> bool {
        self.half_open
            || (self.inbound.is_empty()
                && self.arrived.is_empty()
                && (!self.host_open || self.outbound.is_empty()))
    }

    /// What is on its way in each direction, for people.
    fn unfinished(&self, id: ConnectionId) -> impl Iterator<Item = String> {
        let client = shown_client(&self.client, id);
        let incoming = self.inbound.unfinished(!self.arrived.is_empty());
        let outgoing = self.outbound.unfinished(false).filter(|_| self.host_open);
        let lanes = match self.half_open {
            true => [None, None],
            false => [
                incoming.map(|what| format!("from {client}: {what}")),
                outgoing.map(|what| format!("to {client}: {what}")),
            ],
        };
        lanes.into_iter().flatten()
    }
}
