//! The server's side of a recording, played again: with the interface of a [`Broker`](crate::Broker), and in its place.
//!
//! The play goes through the lines of the recording in order. At what a client did it waits until the client does it again; what
//! the server did it does, as much later as then. A packet of a client may come before the play has reached it, since a program
//! need not wait for the server as long as it did; then it is matched in advance.

mod error;
mod script;
mod seen;

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::packet::{self, Packet, PacketLimits, ProtocolVersion, PublishPacket};
use ferromqtt_proto::shown::peer_text;
use ferromqtt_recording::{ClosedBy, Receiver, RecordedPacket, Recording};

use crate::connection::ConnectionId;
use crate::journal::{BrokerJournal, LinkChange};
use script::{Action, Script, answering, is_same, lane_of, own_id};
use seen::SeenTraffic;

pub use error::{ReplayError, ReplayMismatch};

/// A replay that has come so far.
#[derive(Debug)]
pub(crate) struct Replay {
    script: Script,
    /// The step that comes next.
    next: usize,
    /// When the latest step was done, in the recording and now.
    anchor: Option<(Duration, Instant)>,
    /// The connection that plays each link of the script.
    played: Vec<LinkPlay>,
    connections: HashMap<ConnectionId, PlayedConnection>,
    /// The Subscription Identifiers that clients have now, by those that were recorded: clients draw them at random.
    subscription_identifiers: HashMap<(String, u32), u32>,
    writable: VecDeque<ConnectionId>,
    to_close: VecDeque<ConnectionId>,
    failure: Option<Box<ReplayMismatch>>,
    seen: SeenTraffic,
}

/// How far a link of the script is played.
#[derive(Debug)]
enum LinkPlay {
    /// No connection plays it yet.
    Free,
    /// This one does, since then.
    Taken(ConnectionId, Instant),
    /// It has ended, then.
    Over(Instant),
}

/// A connection of the host.
struct PlayedConnection {
    link: Option<usize>,
    version: ProtocolVersion,
    output: BytesMut,
    /// It is closed behind its output.
    closing: bool,
}

debug_fields!(PlayedConnection {
    link,
    version,
    output: length,
    closing
});

impl Replay {
    pub(crate) fn new(recording: &Recording) -> Result<Self, ReplayError> {
        let script = Script::new(recording)?;
        let played = script.links.iter().map(|_| LinkPlay::Free).collect();
        Ok(Self {
            script,
            next: 0,
            anchor: None,
            played,
            connections: HashMap::new(),
            subscription_identifiers: HashMap::new(),
            writable: VecDeque::new(),
            to_close: VecDeque::new(),
            failure: None,
            seen: SeenTraffic::new(),
        })
    }

    pub(crate) fn open(&mut self, now: Instant, id: ConnectionId) {
        self.seen.opened(now, id);
        self.connections.insert(
            id,
            PlayedConnection {
                link: None,
                version: ProtocolVersion::V311,
                output: BytesMut::new(),
                closing: false,
            },
        );
        if self.failure.is_some() {
            self.close(id);
            return;
        }
        // One on which no client has said who it is can only be known by its turn.
        let free = |link: &LinkPlay| matches!(link, LinkPlay::Free);
        if let Some(first) = self.played.iter().position(free)
            && self.script.links[first].connects_as.is_none()
        {
            self.assign(now, id, first);
        }
        self.advance(now);
    }

    pub(crate) fn handle_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        let limits = PacketLimits::from(usize::MAX);
        let (length, is_wrong) = match packet::whole_packets(input, limits) {
            Ok(whole) => (whole.bytes, false),
            Err((length, _)) => (length, true),
        };
        let packets = input.split_to(length).freeze();
        let mut at = 0;
        while at < packets.len() {
            let Some(connection) = self.connections.get(&id).filter(|it| !it.closing) else {
                break;
            };
            let start = at;
            match packet::decode(&packets, &mut at, connection.version) {
                Ok(packet) => {
                    self.seen.received(now, id, &packet, at - start);
                    self.on_packet(now, id, &packet);
                }
                Err(error) => {
                    let came = format!("bytes that are no packet of MQTT ({error})");
                    self.fail(self.name_of_connection(id), came, None, None);
                }
            }
        }
        if is_wrong {
            let came = "bytes that are no packet of MQTT".to_owned();
            self.fail(self.name_of_connection(id), came, None, None);
        }
        if self.connections.get(&id).is_none_or(|it| it.closing) {
            input.clear();
        }
        self.advance(now);
    }

    /// The client has closed the connection.
    pub(crate) fn closed(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        self.seen.closed(now, id, LinkChange::ClosedByClient);
        let Some(link) = connection.link else {
            return;
        };
        if let LinkPlay::Taken(..) = self.played[link] {
            self.played[link] = LinkPlay::Over(now);
            if let Some(missing) = self.expected(link, |_| true) {
                let came = "the end of the connection".to_owned();
                self.fail(self.name_of(link), came, Some(missing), None);
            }
        }
        self.advance(now);
    }

    pub(crate) fn poll_writable(&mut self) -> Option<ConnectionId> {
        self.writable.pop_front()
    }

    pub(crate) fn poll_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        let connection = self.connections.get_mut(&id)?;
        if connection.output.is_empty() {
            return None;
        }
        let output = connection.output.split().freeze();
        if connection.closing {
            self.to_close.push_back(id);
        }
        Some(output)
    }

    pub(crate) fn poll_close(&mut self, now: Instant) -> Option<ConnectionId> {
        let id = self.to_close.pop_front()?;
        self.seen.closed(now, id, LinkChange::ClosedByBroker);
        self.connections.remove(&id);
        Some(id)
    }

    /// What went by.
    pub(crate) const fn journal(&self) -> &BrokerJournal {
        &self.seen.journal
    }

    /// How many connections are open.
    pub(crate) fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Whether the server does nothing more before a client does something.
    pub(crate) fn is_idle(&self) -> bool {
        self.poll_timeout().is_none()
            && (self.connections.values()).all(|it| it.output.is_empty() && !it.closing)
    }

    /// When the server does something next, if no client does something before.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let step = self.script.steps.get(self.next)?;
        match step.action {
            Action::Send { .. } | Action::Close(ClosedBy::Server) if self.failure.is_none() => {
                self.due(step.at)
            }
            _ => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Whether all went as it was recorded, and nothing is left.
    pub(crate) fn result(&self) -> Result<(), ReplayError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone().into());
        }
        let open = |index: &usize| match &self.script.steps[*index].action {
            Action::Expect { .. } => self.script.steps[*index].met.is_none(),
            Action::Send { .. } => *index >= self.next,
            _ => false,
        };
        let left: Vec<usize> = (0..self.script.steps.len()).filter(open).collect();
        match left.first() {
            None => Ok(()),
            Some(&next) => Err(ReplayError::Unfinished {
                left: left.len(),
                next: self.text_of(next),
            }),
        }
    }

    fn due(&self, at: Duration) -> Option<Instant> {
        let (recorded, now) = self.anchor?;
        now.checked_add(at.saturating_sub(recorded))
    }

    /// Goes on as far as the clients have come.
    fn advance(&mut self, now: Instant) {
        while self.failure.is_none()
            && let Some(step) = self.script.steps.get(self.next)
        {
            let (at, link) = (step.at, step.link);
            let done = match &step.action {
                Action::Skip => None,
                Action::Expect { .. } => match step.met {
                    Some(met) => Some(met),
                    None => return,
                },
                Action::Open => match self.played[link] {
                    LinkPlay::Free => return,
                    LinkPlay::Taken(_, since) | LinkPlay::Over(since) => Some(since),
                },
                Action::Close(ClosedBy::Client) => match self.played[link] {
                    LinkPlay::Over(since) => Some(since),
                    _ => return,
                },
                Action::Send { .. } | Action::Close(ClosedBy::Server) => {
                    if self.due(at).is_some_and(|due| now < due) {
                        return;
                    }
                    self.act(now, self.next);
                    Some(now)
                }
            };
            if let Some(done) = done {
                let latest = self.anchor.map_or(done, |(_, latest)| latest.max(done));
                self.anchor = Some((at, latest));
            }
            self.next += 1;
        }
    }

    /// Does what the server did. On a connection that has ended already, nothing.
    fn act(&mut self, now: Instant, index: usize) {
        let step = &self.script.steps[index];
        let LinkPlay::Taken(id, _) = self.played[step.link] else {
            return;
        };
        let Action::Send {
            bytes,
            packet,
            owner,
        } = &step.action
        else {
            self.played[step.link] = LinkPlay::Over(now);
            self.close(id);
            return;
        };
        let actual = owner.and_then(|owner| match &self.script.steps[owner].action {
            Action::Expect { actual, .. } => *actual,
            _ => None,
        });
        let version = self.script.links[step.link].version;
        let mut output = BytesMut::new();
        match (packet, actual) {
            (Some(packet), Some(actual)) => answering(packet, actual).encode(version, &mut output),
            (Some(Packet::Publish(publish)), None) => {
                let mut publish = publish.clone();
                match self.name_subscriptions(step.link, &mut publish) {
                    true => Packet::Publish(publish).encode(version, &mut output),
                    false => output.extend_from_slice(bytes),
                }
            }
            _ => output.extend_from_slice(bytes), // as the server coded it
        }
        self.send(now, id, output);
    }

    /// Puts the Subscription Identifiers that the client has now into a message. Returns whether any is another.
    fn name_subscriptions(&self, link: usize, publish: &mut PublishPacket) -> bool {
        let Some(properties) = &mut publish.properties else {
            return false;
        };
        let recorded = mem::take(&mut properties.subscription_identifiers);
        let mut differs = false;
        for &identifier in &recorded {
            let key = (self.client_of(link), identifier);
            let actual = self.subscription_identifiers.get(&key).copied();
            properties
                .subscription_identifiers
                .push(actual.unwrap_or(identifier));
            differs |= actual.is_some_and(|it| it != identifier);
        }
        differs
    }

    /// Notes which Subscription Identifier the client has now in place of the recorded one.
    fn note_subscription(&mut self, index: usize, came: &Packet) {
        let step = &self.script.steps[index];
        if let Action::Expect {
            packet: Packet::Subscribe(recorded),
            ..
        } = &step.action
            && let Packet::Subscribe(came) = came
            && let Some(&identifier) = recorded.properties.subscription_identifiers.first()
            && let Some(&actual) = came.properties.subscription_identifiers.first()
        {
            let key = (self.client_of(step.link), identifier);
            self.subscription_identifiers.insert(key, actual);
        }
    }

    /// The client of a link, by the recorded Client Identifier.
    fn client_of(&self, link: usize) -> String {
        self.script.links[link].client_key(link)
    }

    fn send(&mut self, now: Instant, id: ConnectionId, bytes: BytesMut) {
        let bytes = bytes.freeze();
        if let Some(connection) = self.connections.get_mut(&id) {
            if connection.output.is_empty() {
                self.writable.push_back(id);
            }
            connection.output.extend_from_slice(&bytes);
            self.seen.sent(now, id, &bytes);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.closing
        {
            connection.closing = true;
            if connection.output.is_empty() {
                self.to_close.push_back(id);
            }
        }
    }

    fn assign(&mut self, now: Instant, id: ConnectionId, link: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.link = Some(link);
            connection.version = self.script.links[link].version;
            self.played[link] = LinkPlay::Taken(id, now);
        }
    }

    /// The link that a client plays which connects by this name: the next of its own, or, if the recording does not know it,
    /// the next of any.
    fn link_for(&self, client_identifier: &str) -> Option<usize> {
        let links = self.script.links.iter().zip(&self.played).enumerate();
        let own =
            |link: &script::ScriptLink| link.connects_as.as_deref() == Some(client_identifier);
        let is_known = self.script.links.iter().any(own);
        let fits = |link: &script::ScriptLink| match is_known {
            true => own(link),
            false => link.connects_as.is_some(),
        };
        let mut fitting =
            links.filter(|(_, (link, play))| matches!(play, LinkPlay::Free) && fits(link));
        fitting.next().map(|(index, _)| index)
    }

    fn on_packet(&mut self, now: Instant, id: ConnectionId, came: &Packet) {
        if let Packet::PingReq = came {
            let mut answer = BytesMut::new();
            Packet::PingResp.encode(ProtocolVersion::V5, &mut answer);
            return self.send(now, id, answer);
        }
        let link = self.connections.get(&id).and_then(|it| it.link);
        let link = match (came, link) {
            (Packet::Connect(connect), None) => {
                let Some(link) = self.link_for(&connect.client_identifier) else {
                    let (name, nearest) = (self.name_of_connection(id), self.nearest(came));
                    return self.fail(name, text(came, connect.protocol), None, nearest);
                };
                self.assign(now, id, link);
                link
            }
            (_, Some(link)) => link,
            (_, None) => {
                let name = self.name_of_connection(id);
                return self.fail(name, text(came, ProtocolVersion::V311), None, None);
            }
        };
        let lane = lane_of(came);
        let expected = self.expected(link, |packet| lane_of(packet) == lane);
        let version = self.script.links[link].version;
        match expected {
            Some(index) if self.fits(index, came) => {
                let step = &mut self.script.steps[index];
                step.met = Some(now);
                if let Action::Expect { actual, .. } = &mut step.action {
                    *actual = own_id(came).map(|(packet_id, _)| packet_id);
                }
                self.note_subscription(index, came);
                self.seen.fitted(now, id, came);
            }
            _ => {
                let (name, nearest) = (self.name_of(link), self.nearest(came));
                self.fail(name, text(came, version), expected, nearest);
            }
        }
    }

    /// The first packet of a client on a link that has not come yet.
    fn expected(&self, link: usize, is_wanted: impl Fn(&Packet) -> bool) -> Option<usize> {
        let is_expected = |step: &script::ScriptStep| match &step.action {
            Action::Expect { packet, .. } => {
                step.link == link && step.met.is_none() && is_wanted(packet)
            }
            _ => false,
        };
        // All that have come lie before the next step, or shortly behind it.
        let found = self.script.steps[self.next..].iter().position(is_expected);
        found.map(|behind| self.next + behind)
    }

    /// Whether a packet is the one of a step, with the Packet Identifier that it has now.
    fn fits(&self, index: usize, came: &Packet) -> bool {
        let Action::Expect { packet, owner, .. } = &self.script.steps[index].action else {
            return false;
        };
        let owner = owner.map(|owner| &self.script.steps[owner].action);
        let same_id = match (packet, came) {
            (Packet::PubRel(_), Packet::PubRel(ack)) => match owner {
                Some(Action::Expect {
                    actual: Some(actual),
                    ..
                }) => ack.packet_id == *actual,
                _ => true,
            },
            (Packet::PubAck(one), Packet::PubAck(two))
            | (Packet::PubRec(one), Packet::PubRec(two))
            | (Packet::PubComp(one), Packet::PubComp(two)) => one.packet_id == two.packet_id,
            _ => true,
        };
        same_id && is_same(packet, came)
    }

    /// The packet of a client that is most like this one: the same, or of its type, and of these the next.
    fn nearest(&self, came: &Packet) -> Option<usize> {
        let packets = || {
            (self.script.steps.iter().enumerate()).filter_map(|(index, step)| match &step.action {
                Action::Expect { packet, .. } => Some((index, packet, step.met.is_some())),
                _ => None,
            })
        };
        let same_type = |packet: &Packet| mem::discriminant(packet) == mem::discriminant(came);
        let found = packets()
            .filter(|(_, packet, _)| same_type(packet))
            .min_by_key(|&(_, packet, is_met)| (!is_same(packet, came), is_met));
        found.map(|(index, ..)| index)
    }

    /// A step for people.
    fn text_of(&self, index: usize) -> String {
        let step = &self.script.steps[index];
        let version = self.script.links[step.link].version;
        let what = match &step.action {
            Action::Expect { packet, .. } => text(packet, version),
            Action::Send {
                packet: Some(packet),
                ..
            } => RecordedPacket::of(packet, Receiver::Client, version).to_string(),
            _ => "<- bytes that are no packet".to_owned(),
        };
        let name = self.name_of(step.link);
        format!("line {} of the recording, client {name}: {what}", step.line)
    }

    fn name_of(&self, link: usize) -> String {
        match self.script.links[link].connects_as.as_deref() {
            Some(client) if !client.is_empty() => format!("\"{}\"", peer_text(client, &[])),
            _ => format!("without a Client Identifier on link {}", link + 1),
        }
    }

    fn name_of_connection(&self, id: ConnectionId) -> String {
        match self.connections.get(&id).and_then(|it| it.link) {
            Some(link) => self.name_of(link),
            None => format!("of connection {}", id.0),
        }
    }

    /// The first mismatch ends the replay: what follows says nothing. `expected` and `nearest` are steps.
    fn fail(
        &mut self,
        client: String,
        came: String,
        expected: Option<usize>,
        nearest: Option<usize>,
    ) {
        if self.failure.is_some() {
            return;
        }
        self.failure = Some(Box::new(ReplayMismatch {
            client,
            came,
            expected: expected.map(|index| self.text_of(index)),
            nearest: nearest.map(|index| self.text_of(index)),
        }));
        let mut open: Vec<_> = self.connections.keys().copied().collect();
        open.sort_unstable(); // one order, whatever the map's
        for id in open {
            self.close(id);
        }
    }
}

fn text(packet: &Packet, version: ProtocolVersion) -> String {
    RecordedPacket::of(packet, Receiver::Server, version).to_string()
}
