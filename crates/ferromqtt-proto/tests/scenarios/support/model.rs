//! A small server that keeps sessions, and checks every packet of the client against the rules as it comes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Ack, Packet, PublishPacket};
use ferromqtt_proto::{
    Direction, JournalEntry, PacketId, Properties, ProtocolVersion, QoS, ReasonCode, SessionChange,
    Utf8String,
};

use super::Pair;
use super::write::{accepted, disconnect, message, pubrel, receive_maximum, suback, unsuback};

/// An exchange of the client's that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// PUBLISH with this number was sent; PUBACK or PUBREC has not reached the client.
    Published(QoS, usize),
    /// PUBREC has reached the client.
    Released,
    /// SUBSCRIBE or UNSUBSCRIBE with so many filters.
    Request(usize),
}

pub(crate) struct ModelServer {
    version: ProtocolVersion,
    receive_maximum: u16,
    /// The number of the connection that this end belongs to.
    connection: usize,
    /// Came over the wire, not processed yet.
    inbox: VecDeque<Packet>,
    /// What the client must remember: one space of identifiers.
    open: BTreeMap<PacketId, Open>,
    /// Identifiers of `Published`, in the order in which they were sent first.
    order: Vec<PacketId>,
    /// Identifiers of `Released`, in the order of the PUBRECs.
    released: Vec<PacketId>,
    /// What this connection owes to the session, in its order: PUBLISH, and PUBREL.
    owed: VecDeque<PacketId>,
    owed_releases: VecDeque<PacketId>,
    /// Slots of the Receive Maximum that are taken on this connection.
    slots: BTreeSet<PacketId>,
    /// What the messages on record are.
    numbers: BTreeMap<u64, (QoS, usize)>,
    /// The highest number of a message seen so far.
    newest: Option<usize>,
    /// This side of QoS 2.
    received: BTreeSet<PacketId>,
    /// How often each message has been accepted.
    pub(crate) accepted: BTreeMap<usize, usize>,
    has_session: bool,
    /// The session is to be forgotten at the next CONNECT.
    pub(crate) forgets: bool,
    /// Messages to the client that are not finished: whether PUBREC has come.
    outgoing: BTreeMap<PacketId, (PublishPacket, bool)>,
    next_outgoing: u16,
    /// How many of them may be unfinished: the client's Receive Maximum.
    pub(crate) window: usize,
    /// Identifiers of those sent on this connection whose PUBACK or PUBREC is due, in order.
    unanswered: VecDeque<(PacketId, QoS)>,
    /// Numbers of messages that PUBACK or PUBREC has answered since the last look.
    pub(crate) answered: Vec<u16>,
    /// The numbers of those that were sent with DUP.
    pub(crate) sent_again: BTreeSet<u16>,
    /// A session has begun: nothing is sent in it before the client asks for it, or [`World`](super::world::World) says so.
    pub(crate) is_quiet: bool,
    /// The store has failed, so a PUBREL that is owed may be sent later than new messages.
    pub(crate) releases_may_wait: bool,
    /// Sessions that were lost so far.
    pub(crate) losses: usize,
    /// Response Topic and Correlation Data of requests that were accepted.
    pub(crate) asked: Vec<(Utf8String, Bytes)>,
    /// It slips wherever a client that is not strict goes on.
    pub(crate) slips: bool,
    /// The messages that this server never accepts: it answers each by ending the connection.
    pub(crate) poison: BTreeSet<usize>,
    /// Identifiers of those that the client has given up, not to be used in this session again.
    retired: BTreeSet<PacketId>,
}

/// Messages carry their number, and are of any size.
pub(crate) fn numbered(number: usize, length: usize) -> String {
    format!("{number}:{}", "x".repeat(length))
}

fn number_of(payload: &[u8]) -> usize {
    let text = std::str::from_utf8(payload).unwrap();
    text.split_once(':').unwrap().0.parse().unwrap()
}

/// An answer as a server writes it that does not know the letter of its version.
fn slip(answer: &Packet, version: ProtocolVersion) -> BytesMut {
    let mut bytes = BytesMut::new();
    match answer {
        Packet::ConnAck(connack) if version.is_v5() => {
            let mut connack = connack.clone();
            connack.properties.maximum_qos = Some(QoS::ExactlyOnce);
            Packet::ConnAck(connack).encode(version, &mut bytes);
            return bytes;
        }
        _ => answer.encode(version, &mut bytes),
    }
    let code = match answer {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => ack.reason.value(),
        Packet::UnsubAck(_) => 0x11,
        _ => return bytes,
    };
    if !version.is_v5() {
        bytes[1] += 1; // the Remaining Length, which is short
        bytes.extend_from_slice(&[code]);
    }
    bytes
}

impl ModelServer {
    pub(crate) fn new(version: ProtocolVersion, receive_maximum: u16) -> Self {
        Self {
            version,
            receive_maximum,
            connection: 0,
            inbox: VecDeque::new(),
            open: BTreeMap::new(),
            order: Vec::new(),
            released: Vec::new(),
            owed: VecDeque::new(),
            owed_releases: VecDeque::new(),
            slots: BTreeSet::new(),
            numbers: BTreeMap::new(),
            newest: None,
            received: BTreeSet::new(),
            accepted: BTreeMap::new(),
            has_session: false,
            forgets: false,
            outgoing: BTreeMap::new(),
            next_outgoing: 0,
            window: 20,
            unanswered: VecDeque::new(),
            answered: Vec::new(),
            sent_again: BTreeSet::new(),
            is_quiet: false,
            releases_may_wait: false,
            losses: 0,
            asked: Vec::new(),
            slips: false,
            poison: BTreeSet::new(),
            retired: BTreeSet::new(),
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Looks at what the client has sent.
    pub(crate) fn read(&mut self, pair: &mut Pair) {
        if self.connection != pair.attempts.len() {
            self.connection = pair.attempts.len();
            self.connection_lost();
        }
        for packet in pair.packets() {
            self.check(&packet);
            self.inbox.push_back(packet);
        }
    }

    /// The connection is gone, with all that was on its way.
    pub(crate) fn connection_lost(&mut self) {
        self.inbox.clear();
        self.slots.clear();
        self.owed.clear();
        self.owed_releases.clear();
        self.unanswered.clear();
        self.open
            .retain(|_, open| !matches!(open, Open::Request(_)));
    }

    fn check(&mut self, packet: &Packet) {
        match packet {
            Packet::Connect(_) => self.connection_lost(),
            Packet::Publish(publish) => self.check_publish(publish),
            Packet::PubRel(ack) => {
                let id = ack.packet_id;
                assert_eq!(
                    self.open.get(&id),
                    Some(&Open::Released),
                    "PUBREL {id} is not due"
                );
                if let Some(owed) = self.owed_releases.pop_front() {
                    assert_eq!(id, owed, "PUBRELs out of order (MQTT-4.6.0-4)");
                }
            }
            Packet::PubAck(ack) => self.check_answer(ack, QoS::AtLeastOnce),
            Packet::PubRec(ack) => self.check_answer(ack, QoS::ExactlyOnce),
            Packet::Subscribe(it) => self.check_new(it.packet_id, Open::Request(it.filters.len())),
            Packet::Unsubscribe(it) => {
                self.check_new(it.packet_id, Open::Request(it.filters.len()))
            }
            _ => {}
        }
    }

    fn check_answer(&mut self, ack: &Ack, qos: QoS) {
        let first = self.unanswered.iter().position(|(_, other)| *other == qos);
        let answered = first.and_then(|first| self.unanswered.remove(first));
        assert_eq!(
            answered,
            Some((ack.packet_id, qos)),
            "acknowledged out of order (MQTT-4.6.0-2, MQTT-4.6.0-3)"
        );
        self.answered.extend(self.number_of(ack.packet_id));
    }

    /// The number of the message that this server sends under an identifier.
    pub(crate) fn number_of(&self, id: PacketId) -> Option<u16> {
        let (publish, _) = self.outgoing.get(&id)?;
        std::str::from_utf8(&publish.payload).ok()?.parse().ok()
    }

    fn check_new(&mut self, id: PacketId, exchange: Open) {
        let before = self.open.insert(id, exchange);
        assert_eq!(before, None, "identifier {id} is in use (MQTT-2.2.1-3)");
        assert!(!self.retired.contains(&id), "{id} was given up");
    }

    fn check_publish(&mut self, publish: &PublishPacket) {
        let number = number_of(&publish.payload);
        if publish.dup {
            let id = publish.packet_id.unwrap();
            assert_eq!(
                self.owed.pop_front(),
                Some(id),
                "resend out of order (MQTT-4.6.0-1)"
            );
            let open = Open::Published(publish.qos, number);
            assert_eq!(self.open.get(&id), Some(&open), "not what was sent first");
        } else {
            assert!(
                self.owed.is_empty(),
                "a new message before what is owed (MQTT-4.6.0-1)"
            );
            assert!(
                self.owed_releases.is_empty() || self.releases_may_wait,
                "a new message before a PUBREL that is owed"
            );
            if self.newest.is_none_or(|newest| newest < number) {
                self.newest = Some(number);
            } else {
                assert!(self.losses > 0, "sent twice, or out of order: {number}");
            }
            if let Some(id) = publish.packet_id {
                self.check_new(id, Open::Published(publish.qos, number));
                self.order.push(id);
            }
        }
        if let Some(id) = publish.packet_id {
            assert!(
                self.slots.insert(id),
                "{id} twice on one connection (MQTT-4.4.0-1)"
            );
            let limit = usize::from(self.receive_maximum);
            assert!(
                self.slots.len() <= limit,
                "beyond Receive Maximum (MQTT-3.3.4-7)"
            );
        }
    }

    /// Processes the oldest packet. With `answers` false the answer is lost together with the connection; with `refuses` a
    /// publish is answered with an error, where the version has one.
    pub(crate) fn process(&mut self, pair: &mut Pair, answers: bool, refuses: bool) {
        let Some(packet) = self.inbox.pop_front() else {
            return;
        };
        if let Packet::Publish(publish) = &packet
            && self.poison.contains(&number_of(&publish.payload))
            && pair.link_is_up()
        {
            return self.end_because_of(pair, packet);
        }
        let refuses = refuses && (self.version.is_v5() || self.slips);
        let answer = match packet {
            // That a session was lost, told in a CONNACK that is lost itself, is nothing a client could ever learn, and the
            // next CONNACK says that the session is present. So a CONNECT whose answer is lost has no effect here.
            Packet::Connect(_) if !answers || !pair.link_is_up() => None,
            Packet::Connect(connect) => Some(self.on_connect(connect.clean_start)),
            Packet::Publish(publish) => self.on_publish(&publish, refuses),
            Packet::PubRel(ack) => {
                self.received.remove(&ack.packet_id);
                Some(Packet::PubComp(Ack::success(ack.packet_id)))
            }
            Packet::Subscribe(it) => {
                self.is_quiet = false;
                let reasons = vec![ReasonCode::GrantedQos1; it.filters.len()];
                Some(suback(it.packet_id.get(), &reasons))
            }
            Packet::Unsubscribe(it) => {
                let count = if self.version.is_v5() {
                    it.filters.len()
                } else {
                    0
                };
                Some(unsuback(
                    it.packet_id.get(),
                    &vec![ReasonCode::Success; count],
                ))
            }
            Packet::PubRec(ack) => {
                if let Some((_, received)) = self.outgoing.get_mut(&ack.packet_id) {
                    *received = true;
                }
                Some(pubrel(ack.packet_id.get()))
            }
            Packet::PubAck(ack) | Packet::PubComp(ack) => {
                self.outgoing.remove(&ack.packet_id);
                None
            }
            Packet::Disconnect(_) => None,
            other => panic!("a client sent {other:?}"),
        };
        if !answers {
            pair.cut();
            self.connection_lost();
        } else if let Some(answer) = answer
            && pair.link_is_up()
        {
            self.answer(pair, answer);
        }
        self.read(pair);
    }

    /// Ends the connection because of a message, as soon as all that the client has encoded is here: what becomes of the rest
    /// is another matter. Only such a message may be given up for it.
    fn end_because_of(&mut self, pair: &mut Pair, packet: Packet) {
        let Packet::Publish(publish) = &packet else {
            return;
        };
        let reason = [
            ReasonCode::PacketTooLarge,
            ReasonCode::PayloadFormatInvalid,
            ReasonCode::RetainNotSupported,
            ReasonCode::QosNotSupported,
        ][number_of(&publish.payload) % 4];
        pair.writable = true;
        pair.pump();
        self.read(pair);
        if pair.client.held_packets() > 0 || !pair.client.is_connected() {
            self.inbox.push_front(packet); // a store has not written yet
            return;
        }
        let before = pair.refused_by_disconnect().len();
        pair.server_sends(disconnect(reason));
        if pair.link_is_up() {
            assert!(pair.unread() > 0, "the client closes too");
            assert_eq!(publish.qos, QoS::AtMostOnce, "nothing waits for an answer");
            pair.cut(); // it reads again when its queue has room, and finds the end
        }
        for id in pair.refused_by_disconnect().split_off(before) {
            match self.open.remove(&id) {
                Some(Open::Published(_, number)) if self.poison.contains(&number) => {}
                other => panic!("{id} is innocent: {other:?}"),
            }
            self.order.retain(|it| *it != id);
            self.retired.insert(id);
        }
        self.connection_lost();
    }

    fn on_connect(&mut self, clean: bool) -> Packet {
        let present = self.has_session && !self.forgets && !clean;
        self.forgets = false;
        if !present {
            self.losses += usize::from(self.has_session);
            self.received.clear();
            self.outgoing.clear();
            self.is_quiet = true;
        }
        self.has_session = true;
        accepted(present, receive_maximum(self.receive_maximum))
    }

    fn on_publish(&mut self, publish: &PublishPacket, refuses: bool) -> Option<Packet> {
        let number = number_of(&publish.payload);
        let id = publish.packet_id;
        let known =
            publish.qos == QoS::ExactlyOnce && id.is_some_and(|id| self.received.contains(&id));
        if !known && !refuses {
            *self.accepted.entry(number).or_default() += 1;
            self.note_request(publish);
        }
        let reason = if refuses && !known {
            ReasonCode::QuotaExceeded
        } else {
            ReasonCode::Success
        };
        let ack = Ack::new(id?, reason);
        if publish.qos == QoS::AtLeastOnce {
            return Some(Packet::PubAck(ack));
        }
        if !reason.is_error() {
            self.received.insert(ack.packet_id);
        }
        Some(Packet::PubRec(ack))
    }

    fn note_request(&mut self, publish: &PublishPacket) {
        let properties = publish.properties.as_deref();
        let topic = properties.and_then(|it| it.response_topic.clone());
        let data = properties.and_then(|it| it.correlation_data.clone());
        self.asked.extend(topic.zip(data));
    }

    /// A responder answers one of the requests; its payload is the number 0.
    pub(crate) fn respond(&mut self, pair: &mut Pair, index: usize) {
        if self.asked.is_empty() || !pair.client.is_connected() || !pair.link_is_up() {
            return;
        }
        let (topic, data) = self.asked.swap_remove(index % self.asked.len());
        let mut response = message(topic.as_str(), "0", QoS::AtMostOnce, 0);
        response.properties = Some(Box::new(Properties {
            correlation_data: Some(data),
            ..Properties::default()
        }));
        self.send(pair, Packet::Publish(response));
    }

    /// Sends an answer, after noting what the client knows from now on.
    fn answer(&mut self, pair: &mut Pair, answer: Packet) {
        let finished = match &answer {
            Packet::ConnAck(connack) => {
                self.on_accepted(connack.session_present);
                None
            }
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                if matches!(self.open.get(&ack.packet_id), Some(Open::Published(..))) {
                    self.open.insert(ack.packet_id, Open::Released);
                    self.order.retain(|id| *id != ack.packet_id);
                    self.owed.retain(|id| *id != ack.packet_id);
                    self.released.push(ack.packet_id);
                }
                None
            }
            Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack) => Some(ack.packet_id),
            Packet::SubAck(it) => Some(it.packet_id),
            Packet::UnsubAck(it) => Some(it.packet_id),
            _ => None,
        };
        if let Some(id) = finished {
            self.open.remove(&id);
            self.slots.remove(&id);
            self.order.retain(|it| *it != id);
            self.released.retain(|it| *it != id);
        }
        let connack = matches!(answer, Packet::ConnAck(_));
        if self.slips {
            pair.server_sends_bytes(&slip(&answer, self.version));
        } else {
            pair.server_sends(answer);
        }
        if connack {
            self.read(pair);
            self.resend(pair);
        }
    }

    fn on_accepted(&mut self, session_present: bool) {
        if session_present {
            self.owed = self.order.iter().copied().collect();
            self.owed_releases = self.released.iter().copied().collect();
        } else {
            self.open.clear();
            self.order.clear();
            self.released.clear();
            self.retired.clear();
        }
    }

    /// Resends to the client what it has not finished.
    fn resend(&mut self, pair: &mut Pair) {
        for (id, (mut publish, received)) in self.outgoing.clone() {
            let packet = if received {
                pubrel(id.get())
            } else {
                publish.dup = true;
                self.sent_again.extend(self.number_of(id));
                Packet::Publish(publish)
            };
            if pair.link_is_up() {
                self.send(pair, packet);
            }
        }
    }

    fn send(&mut self, pair: &mut Pair, packet: Packet) {
        if let Packet::Publish(publish) = &packet
            && let Some(id) = publish.packet_id
        {
            self.unanswered.push_back((id, publish.qos));
        }
        pair.server_sends(packet);
        self.read(pair);
    }

    /// Publishes to the client; its payload is the number returned.
    pub(crate) fn publish(&mut self, pair: &mut Pair, topic: &str, qos: QoS) -> Option<u16> {
        let is_full = self.outgoing.len() >= self.window;
        if !pair.client.is_connected() || !pair.link_is_up() || is_full || self.is_quiet {
            return None;
        }
        self.next_outgoing += 1;
        let number = self.next_outgoing;
        // Identifiers are used again as soon as they can be.
        let free = |id: &u16| !PacketId::new(*id).is_some_and(|id| self.outgoing.contains_key(&id));
        let id = match qos {
            QoS::AtMostOnce => 0,
            _ => (1..=u16::MAX).find(free)?,
        };
        let mut publish = message(topic, &number.to_string(), qos, id);
        publish.dup = self.slips && qos == QoS::AtMostOnce;
        if let Some(id) = publish.packet_id {
            self.outgoing.insert(id, (publish.clone(), false));
        }
        self.send(pair, Packet::Publish(publish));
        Some(number)
    }

    /// The client has crashed, and begins again with what was on record: that is what it must remember from now on.
    pub(crate) fn client_crashed(&mut self, record: &[JournalEntry]) {
        self.connection_lost();
        self.open.clear();
        self.retired.clear();
        self.releases_may_wait = false;
        let mut publishing: Vec<(u64, PacketId)> = Vec::new();
        let mut releasing: Vec<(u64, PacketId)> = Vec::new();
        for entry in record {
            match &entry.change {
                SessionChange::Publishing {
                    key,
                    packet_id,
                    publish,
                } => {
                    publishing.retain(|(it, _)| it != key);
                    publishing.push((*key, *packet_id));
                    let number = number_of(&publish.payload);
                    self.numbers.insert(*key, (publish.qos, number));
                }
                SessionChange::Sending { key, packet_id } => {
                    publishing.retain(|(it, _)| it != key);
                    publishing.push((*key, *packet_id));
                }
                SessionChange::Releasing { key } => {
                    let at = publishing.iter().position(|(it, _)| it == key).unwrap();
                    releasing.push(publishing.remove(at));
                }
                SessionChange::Finished { key } | SessionChange::Uncertain { key } => {
                    publishing.retain(|(it, _)| it != key);
                    releasing.retain(|(it, _)| it != key);
                }
                SessionChange::SessionLost {
                    direction: Direction::Sent,
                } => {
                    publishing.clear();
                    releasing.clear();
                    self.retired.clear();
                }
                SessionChange::Retired { packet_id } => {
                    self.retired.insert(*packet_id);
                }
                _ => {}
            }
        }
        publishing.sort_unstable(); // keys are given in the order of sending
        for (key, id) in &publishing {
            let (qos, number) = self.numbers[key];
            self.open.insert(*id, Open::Published(qos, number));
            self.retired.remove(id); // the process ended before all was on record
        }
        for (_, id) in &releasing {
            self.open.insert(*id, Open::Released);
        }
        self.order = publishing.into_iter().map(|(_, id)| id).collect();
        self.released = releasing.into_iter().map(|(_, id)| id).collect();
    }

    /// Nothing is unfinished on either side.
    pub(crate) fn is_settled(&self) -> bool {
        self.inbox.is_empty() && self.open.is_empty() && self.outgoing.is_empty()
    }
}
