//! A client and a scripted server, joined by a link in memory, in virtual time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{self, Connect, Packet, decode, whole_packets};
use ferromqtt_proto::{
    Client, Connected, ConnectionError, Event, Message, OpId, Options, Outcome, PacketId,
    Properties, ProtocolVersion, Publish, QoS, QueueId, ServerChoice, Session, Subscribe,
    TopicName, TransportError, TransportRequest, Unsubscribe,
};

use super::write::{accepted, at, filter};

/// The state of the link between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    /// The client asked for a transport.
    Asked,
    Up,
}

pub(crate) struct Pair {
    pub(crate) client: Client,
    pub(crate) now: Instant,
    pub(crate) version: ProtocolVersion,
    link: Link,
    /// A transport that is asked for opens at once. Otherwise the scenario decides.
    pub(crate) opens: bool,
    /// The client's socket takes bytes. Otherwise they stay inside the client.
    pub(crate) writable: bool,
    /// `attempt` of each transport that was asked for.
    pub(crate) attempts: Vec<u32>,
    /// `server` of each.
    pub(crate) servers: Vec<ServerChoice>,
    /// Each request to end a transport: whether everything was to be written first.
    pub(crate) closes: Vec<bool>,
    /// The server ends its side when it has read that the client has ended its own. Otherwise it goes on.
    pub(crate) server_closes: bool,
    /// The driver reports that a transport has ended which it was to close. Otherwise it never does.
    pub(crate) driver_closes: bool,
    /// Each request but those to open.
    pub(crate) requests: Vec<TransportRequest>,
    /// From the client, not looked at yet.
    wire: BytesMut,
    /// To the client, which has not read it yet.
    socket: BytesMut,
    /// To the client, not whole yet.
    input: BytesMut,
    events: Vec<Event>,
}

impl Pair {
    /// A client whose application reads the default queue from the start.
    pub(crate) fn new(options: Options) -> Self {
        Self::with_session(options, Session::default())
    }

    /// As [`Pair::new`], with a session from before.
    pub(crate) fn with_session(options: Options, session: Session) -> Self {
        let mut pair = Self::unclaimed(options, session);
        pair.client.claim_default();
        pair
    }

    /// A client whose application has not said yet what it reads.
    pub(crate) fn unclaimed(options: Options, session: Session) -> Self {
        let version = options.protocol;
        Self {
            client: Client::new(options, session, 1).unwrap(),
            now: start(),
            version,
            link: Link::Down,
            opens: true,
            writable: true,
            attempts: Vec::new(),
            servers: Vec::new(),
            closes: Vec::new(),
            server_closes: true,
            driver_closes: true,
            requests: Vec::new(),
            wire: BytesMut::new(),
            socket: BytesMut::new(),
            input: BytesMut::new(),
            events: Vec::new(),
        }
    }

    /// The process has ended without a word, and a new one begins with this session: the connection is gone.
    pub(crate) fn restart(&mut self, options: Options, session: Session) {
        let seed = self.attempts.len() as u64 + 2; // a real process has one of its own too
        self.client = Client::new(options, session, seed).unwrap();
        self.link = Link::Down;
        self.wire.clear();
        self.socket.clear();
        self.input.clear();
        self.events.clear();
    }

    /// A pair whose server has accepted the connection, without a session from before.
    pub(crate) fn connected(options: Options) -> Self {
        let mut pair = Self::new(options);
        pair.connect();
        pair.accept(false, Properties::default());
        pair
    }

    /// As [`Pair::connected`], with these CONNACK properties.
    pub(crate) fn connected_with(options: Options, properties: Properties) -> Self {
        let mut pair = Self::new(options);
        pair.connect();
        pair.accept(false, properties);
        pair
    }

    /// The driver's loop: moves bytes and requests until there is nothing left to do.
    pub(crate) fn pump(&mut self) {
        for _ in 0..10_000 {
            let mut progress = false;
            while self.writable
                && let Some(chunk) = self.client.poll_transmit(self.now)
            {
                assert!(!chunk.is_empty(), "an empty chunk");
                assert_eq!(self.link, Link::Up, "bytes without a transport");
                self.wire.extend_from_slice(&chunk);
                progress = true;
            }
            if let Some(request) = self.client.poll_transport() {
                self.serve(request);
                progress = true;
            }
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
                progress = true;
            }
            if !self.socket.is_empty() && !self.client.input_paused() {
                self.input.unsplit(self.socket.split());
                self.client.handle_input(self.now, &mut self.input);
                progress = true;
            }
            let due = self.client.poll_timeout();
            if self.client.is_connected() && due.is_some_and(|due| due <= self.now) {
                self.client.handle_timeout(self.now);
                progress = true;
            }
            if !progress {
                return;
            }
        }
        panic!("the client never comes to rest");
    }

    /// How many bytes of the server's are not read, since the client asked to leave them alone.
    pub(crate) fn unread(&self) -> usize {
        self.socket.len()
    }

    fn serve(&mut self, request: TransportRequest) {
        if !matches!(request, TransportRequest::Open { .. }) {
            self.requests.push(request.clone());
        }
        match request {
            TransportRequest::Open { server, attempt } => {
                assert_eq!(self.link, Link::Down, "a second transport");
                self.attempts.push(attempt);
                self.servers.push(server);
                self.link = Link::Asked;
                if self.opens {
                    self.open();
                }
            }
            TransportRequest::Finish => {
                self.closes.push(true);
                self.client.transport_finished(self.now);
                if self.server_closes {
                    self.lose(TransportError::EndOfStream);
                }
            }
            TransportRequest::Close | TransportRequest::Abort => {
                self.closes.push(false);
                if self.driver_closes {
                    self.lose(TransportError::EndOfStream);
                }
            }
        }
    }

    fn open(&mut self) {
        self.link = Link::Up;
        self.socket.clear();
        self.input.clear();
        self.wire.clear(); // what was not looked at belongs to the connection before
        self.client.transport_opened(self.now);
    }

    /// Asks for a connection; CONNECT is on the wire afterwards.
    pub(crate) fn connect(&mut self) {
        self.client.connect(self.now);
        self.pump();
    }

    /// The transport that was asked for opens, when it does not do so by itself.
    pub(crate) fn transport_opens(&mut self) {
        assert_eq!(self.link, Link::Asked);
        self.open();
        self.pump();
    }

    /// Takes CONNECT off the wire and accepts it.
    pub(crate) fn accept(&mut self, session_present: bool, properties: Properties) -> Connect {
        let mut packets = self.packets();
        assert_eq!(packets.len(), 1, "CONNECT alone goes first: {packets:?}");
        let Some(Packet::Connect(connect)) = packets.pop() else {
            panic!("the first packet is not CONNECT");
        };
        self.server_sends(accepted(session_present, properties));
        assert!(self.client.is_connected());
        *connect
    }

    /// Cuts the connection, waits for the next one, and accepts it.
    pub(crate) fn reconnect(&mut self, session_present: bool) {
        self.reconnect_with(session_present, Properties::default());
    }

    /// As [`Pair::reconnect`], with these CONNACK properties.
    pub(crate) fn reconnect_with(&mut self, session_present: bool, properties: Properties) {
        self.cut();
        self.wait_for_transport();
        self.accept(session_present, properties);
    }

    /// Lets time pass until the client has a transport.
    pub(crate) fn wait_for_transport(&mut self) {
        for _ in 0..100 {
            if self.link == Link::Up {
                return;
            }
            let next = self.client.poll_timeout().expect("the client gave up");
            self.advance(next - self.now);
        }
        panic!("no transport was asked for");
    }

    /// Nothing comes any more that was on its way, and nobody is told.
    pub(crate) fn wire_is_cut_silently(&mut self) {
        self.socket.clear();
    }

    /// The link breaks. Bytes on their way to the client are lost.
    pub(crate) fn cut(&mut self) {
        assert_ne!(self.link, Link::Down, "there is nothing to cut");
        self.lose(TransportError::EndOfStream);
        self.pump();
    }

    pub(crate) fn lose(&mut self, error: TransportError) {
        self.link = Link::Down;
        self.socket.clear();
        self.input.clear();
        self.client.transport_closed(self.now, error);
    }

    pub(crate) fn link_is_up(&self) -> bool {
        self.link == Link::Up
    }

    pub(crate) fn transport_is_asked_for(&self) -> bool {
        self.link == Link::Asked
    }

    pub(crate) fn server_sends(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes);
        self.server_sends_bytes(&bytes);
    }

    pub(crate) fn server_sends_bytes(&mut self, bytes: &[u8]) {
        assert_eq!(self.link, Link::Up, "the server has no transport");
        self.socket.extend_from_slice(bytes);
        self.pump();
    }

    /// Lets time pass, and wakes the client whenever it asked to be woken.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let target = self.now + duration;
        for _ in 0..10_000 {
            match self.client.poll_timeout() {
                Some(due) if due <= target => {
                    self.now = self.now.max(due);
                    self.client.handle_timeout(self.now);
                    self.pump();
                }
                _ => {
                    self.now = target;
                    self.client.handle_timeout(self.now); // early calls must be harmless
                    self.pump();
                    return;
                }
            }
        }
        panic!("the client asks to be woken again and again");
    }

    /// The bytes that the client sent since the last look.
    pub(crate) fn bytes(&mut self) -> Bytes {
        self.wire.split().freeze()
    }

    /// The packets that the client sent since the last look.
    pub(crate) fn packets(&mut self) -> Vec<Packet> {
        let bytes = self.bytes();
        let whole = whole_packets(&bytes, usize::MAX).unwrap();
        assert_eq!(whole.bytes, bytes.len(), "half a packet on the wire");
        let mut at = 0;
        let mut packets = Vec::new();
        while at < bytes.len() {
            packets.push(decode(&bytes, &mut at, self.version).unwrap());
        }
        packets
    }

    /// The SUBSCRIBE packets that the client sent since the last look, and nothing else.
    pub(crate) fn subscribes(&mut self) -> Vec<packet::SubscribePacket> {
        (self.packets().into_iter())
            .map(|packet| match packet {
                Packet::Subscribe(it) => *it,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// As [`Pair::packets`], in short: see [`short`].
    pub(crate) fn sent(&mut self) -> Vec<String> {
        self.packets().iter().map(short).collect()
    }

    /// The events since the last look.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The operations that completed since the last look; other events are dropped.
    pub(crate) fn outcomes(&mut self) -> Vec<(OpId, Outcome)> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Completed { op, outcome } => Some((op, outcome)),
                _ => None,
            })
            .collect()
    }

    /// How `op`, and nothing else, completed since the last look.
    pub(crate) fn outcome(&mut self, op: OpId) -> Outcome {
        let mut outcomes = self.outcomes();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        let (completed, outcome) = outcomes.remove(0);
        assert_eq!(completed, op);
        outcome
    }

    /// Identifiers of the messages that the server refused by ending the connection. Other than the like of it, this leaves
    /// the events to be looked at.
    pub(crate) fn refused_by_disconnect(&self) -> Vec<PacketId> {
        (self.events.iter())
            .filter_map(|event| match event {
                Event::MessageRefused { packet_id, .. } => Some(*packet_id),
                _ => None,
            })
            .collect()
    }

    /// The answer to CONNECT since the last look.
    pub(crate) fn connected_event(&mut self) -> Connected {
        let connected = self.events().into_iter().find_map(|event| match event {
            Event::Connected(connected) => Some(*connected),
            _ => None,
        });
        connected.expect("no Connected event")
    }

    /// Why connections and attempts ended since the last look.
    pub(crate) fn causes(&mut self) -> Vec<ConnectionError> {
        self.events()
            .into_iter()
            .filter_map(|event| match event {
                Event::Disconnected { cause, .. } => Some(cause),
                _ => None,
            })
            .collect()
    }

    /// Why the connection ended, told exactly once since the last look.
    pub(crate) fn cause(&mut self) -> ConnectionError {
        let mut causes = self.causes();
        assert_eq!(causes.len(), 1, "{causes:?}");
        causes.remove(0)
    }

    pub(crate) fn publish(&mut self, topic: &str, payload: &str, qos: QoS) -> OpId {
        let topic = TopicName::new(topic).unwrap();
        let mut publish = Publish::new(topic, Bytes::copy_from_slice(payload.as_bytes()));
        publish.qos = qos;
        let op = self.client.publish(self.now, publish).unwrap();
        self.pump();
        op
    }

    /// Subscribes to filters at QoS 1, for the default queue.
    pub(crate) fn subscribe(&mut self, filters: &[&str]) -> OpId {
        self.subscribe_to(filters, QueueId::DEFAULT)
    }

    pub(crate) fn subscribe_to(&mut self, filters: &[&str], queue: QueueId) -> OpId {
        let subscribe = Subscribe {
            filters: (filters.iter())
                .map(|&text| (filter(text), at(QoS::AtLeastOnce)))
                .collect(),
            properties: Properties::default(),
            queue,
        };
        let op = self.client.subscribe(self.now, subscribe).unwrap();
        self.pump();
        op
    }

    pub(crate) fn unsubscribe(&mut self, filters: &[&str]) -> OpId {
        let unsubscribe = Unsubscribe {
            filters: filters.iter().map(|&text| filter(text)).collect(),
            properties: Properties::default(),
        };
        let op = self.client.unsubscribe(self.now, unsubscribe).unwrap();
        self.pump();
        op
    }

    /// The messages in the default queue.
    pub(crate) fn messages(&mut self) -> Vec<Message> {
        self.messages_of(QueueId::DEFAULT)
    }

    pub(crate) fn messages_of(&mut self, queue: QueueId) -> Vec<Message> {
        std::iter::from_fn(|| self.client.next_message(queue)).collect()
    }

    /// The payloads in the default queue, as text.
    pub(crate) fn payloads(&mut self) -> Vec<String> {
        self.payloads_of(QueueId::DEFAULT)
    }

    pub(crate) fn payloads_of(&mut self, queue: QueueId) -> Vec<String> {
        self.messages_of(queue)
            .iter()
            .map(|message| String::from_utf8_lossy(&message.payload).into_owned())
            .collect()
    }
}

/// One line for a packet: its name; what matters of it in most scenarios; DUP and a Reason Code only when set.
fn short(packet: &Packet) -> String {
    let ack = |name: &str, ack: &packet::Ack| match ack.reason.value() {
        0 => format!("{name} {}", ack.packet_id),
        reason => format!("{name} {} 0x{reason:02X}", ack.packet_id),
    };
    match packet {
        Packet::Connect(_) => "CONNECT".to_owned(),
        Packet::Publish(publish) => {
            let id = (publish.packet_id).map_or(String::new(), |id| format!(" {id}"));
            let dup = if publish.dup { " DUP" } else { "" };
            let payload = String::from_utf8_lossy(&publish.payload);
            format!("PUBLISH q{}{id}{dup} {payload}", publish.qos.value())
        }
        Packet::PubAck(it) => ack("PUBACK", it),
        Packet::PubRec(it) => ack("PUBREC", it),
        Packet::PubRel(it) => ack("PUBREL", it),
        Packet::PubComp(it) => ack("PUBCOMP", it),
        Packet::Subscribe(subscribe) => {
            let filters: Vec<_> = subscribe.filters.iter().map(|(it, _)| it).collect();
            format!("SUBSCRIBE {} {}", subscribe.packet_id, filters.join(" "))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<_> = unsubscribe.filters.iter().collect();
            format!(
                "UNSUBSCRIBE {} {}",
                unsubscribe.packet_id,
                filters.join(" ")
            )
        }
        Packet::PingReq => "PINGREQ".to_owned(),
        Packet::Disconnect(disconnect) => format!("DISCONNECT 0x{:02X}", disconnect.reason.value()),
        other => panic!("a client sent {other:?}"),
    }
}

/// The beginning of virtual time: the same at every call.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant can be made in no other way; scenarios only add to it"
)]
fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
