//! The test broker with any options, and a few clients that connect, send any packets and bytes, read or do not, and leave.
//!
//! Checked are: no panic; the broker comes to rest after each step; what it writes are a server's packets, between CONNACK
//! and DISCONNECT, within the client's limits (`broker_output`), with Packet Identifiers that are free (`in_flight`); what it
//! holds keeps to its bounds, in numbers and bytes; and every connection and every deadline comes to its end.
#![no_main]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use ferromqtt_fuzz::broker_output::BrokerOutput;
use ferromqtt_fuzz::source::Source;
use ferromqtt_fuzz::{broker_options, client_options, packets};
use ferromqtt_proto::packet::{Packet, PacketType};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};
use libfuzzer_sys::fuzz_target;

/// Steps of one run.
const STEPS: usize = 300;
/// A broker has nothing more to do after so many polls: each step lets it write a few hundred packets at most.
const POLLS: usize = 20_000;
/// Connections at the same time.
const CLIENTS: usize = 4;
/// What clients send.
const OF_CLIENT: [PacketType; 11] = [
    PacketType::Subscribe,
    PacketType::Publish,
    PacketType::Unsubscribe,
    PacketType::PubAck,
    PacketType::PubRec,
    PacketType::PubRel,
    PacketType::PubComp,
    PacketType::PingReq,
    PacketType::Disconnect,
    PacketType::Connect,
    PacketType::Auth,
];

fuzz_target!(|input: &[u8]| {
    let mut source = Source::new(input);
    let mut world = World::new(&mut source);
    for _ in 0..STEPS {
        if source.is_empty() {
            break;
        }
        world.step(&mut source);
        world.settle();
    }
    world.finish();
});

struct World {
    broker: Broker,
    bounds: BrokerOptions,
    /// The Client Identifiers of all CONNECT packets.
    names: BTreeSet<String>,
    now: Instant,
    clients: Vec<Peer>,
}

struct Peer {
    id: ConnectionId,
    input: BytesMut,
    output: BrokerOutput,
    /// Whether its socket takes bytes.
    reads: bool,
}

impl World {
    fn new(source: &mut Source<'_>) -> Self {
        let bounds = broker_options::any(source);
        Self {
            broker: Broker::new(bounds.clone()),
            bounds,
            names: BTreeSet::new(),
            now: Instant::now(),
            clients: Vec::new(),
        }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        let step = source.below(9);
        if step == 0 || self.clients.is_empty() {
            return self.connect(source);
        }
        let index = source.below(self.clients.len());
        match step {
            1 | 2 => self.client_sends_packet(index, source),
            3 => self.client_answers(index, source),
            4 => {
                let bytes = source.bytes();
                self.arrive(index, bytes, source);
            }
            5 => {
                let client = self.clients.remove(index);
                self.broker.closed(self.now, client.id);
            }
            6 => {
                let reads = &mut self.clients[index].reads;
                *reads = !*reads;
            }
            7 => self.pass_time(source),
            _ => {
                let (identifier, reason) = (source.text(), packets::reason(source));
                let reference = source.option(Source::text);
                let _ = (self.broker).disconnect_client(self.now, &identifier, reason, reference);
            }
        }
    }

    /// Does what every host does after every call.
    fn settle(&mut self) {
        for _ in 0..POLLS {
            if !self.poll() {
                for client in self.clients.iter().filter(|client| client.reads) {
                    client.output.check_at_rest();
                }
                self.check_bounds();
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    /// What the broker holds is within its bounds.
    fn check_bounds(&self) {
        let (stats, bounds) = (self.broker.stats(), &self.bounds);
        assert_eq!(stats.connections, self.clients.len());
        for (held, bound) in [
            (stats.sessions, bounds.maximum_sessions),
            (stats.session_bytes, bounds.maximum_session_bytes),
            (stats.retained_messages, bounds.maximum_retained_messages),
            (stats.retained_bytes, bounds.maximum_retained_bytes),
        ] {
            assert!(held <= bound, "{held} of {bound}: {stats:?}");
        }
        let mut connected = 0;
        for session in (self.names.iter()).filter_map(|name| self.broker.session_stats(name)) {
            connected += usize::from(session.connected);
            assert!(session.queued <= bounds.maximum_queued_messages);
            assert!(session.queued_bytes <= bounds.maximum_queued_bytes);
            assert!(session.subscriptions <= bounds.maximum_subscriptions);
            assert!(session.queued_bytes > 0 || session.queued == 0);
        }
        assert!(connected <= bounds.maximum_connections);
        assert_eq!(stats.session_bytes == 0, stats.sessions == 0, "{stats:?}");
        assert!(
            stats.retained_bytes > 0 || stats.retained_messages == 0,
            "{stats:?}"
        );
    }

    fn poll(&mut self) -> bool {
        for client in self.clients.iter_mut().filter(|client| client.reads) {
            if let Some(chunk) = self.broker.poll_transmit(client.id) {
                client.output.wrote(&chunk);
                return true;
            }
        }
        if let Some(id) = self.broker.poll_writable() {
            assert!(
                self.clients.iter().any(|client| client.id == id),
                "{id:?} is not open"
            );
            return true;
        }
        if let Some(id) = self.broker.poll_close() {
            let index = self.clients.iter().position(|client| client.id == id);
            let client = self.clients.remove(index.expect("closed, but not open"));
            assert_eq!(self.broker.poll_transmit(client.id), None);
            return true;
        }
        false
    }

    /// A transport is opened, and mostly begins with CONNECT.
    fn connect(&mut self, source: &mut Source<'_>) {
        if self.clients.len() == CLIENTS {
            return;
        }
        self.clients.push(Peer {
            id: self.broker.open(self.now),
            input: BytesMut::new(),
            output: BrokerOutput::default(),
            reads: true,
        });
        let version = client_options::version(source);
        let mut encoded = BytesMut::new();
        if source.byte() != u8::MAX {
            let packet = packets::of_type(PacketType::Connect, version, source);
            if let Packet::Connect(connect) = &packet {
                self.names
                    .insert(connect.client_identifier.as_str().to_owned());
            }
            packet.encode(version, &mut encoded);
        }
        self.arrive(self.clients.len() - 1, &encoded, source);
    }

    fn client_sends_packet(&mut self, index: usize, source: &mut Source<'_>) {
        let version = self.clients[index].output.version();
        let mut encoded = BytesMut::new();
        for _ in 0..=source.below(3) {
            let packet_type = source.pick(&OF_CLIENT);
            packets::of_type(packet_type, version, source).encode(version, &mut encoded);
        }
        self.arrive(index, &encoded, source);
    }

    fn client_answers(&mut self, index: usize, source: &mut Source<'_>) {
        let output = &mut self.clients[index].output;
        let mut encoded = BytesMut::new();
        for _ in 0..=source.below(8) {
            if let Some(packet) = output.answer(source) {
                packet.encode(output.version(), &mut encoded);
            }
        }
        self.arrive(index, &encoded, source);
    }

    /// Bytes come from a client: all at once or in two pieces.
    fn arrive(&mut self, index: usize, bytes: &[u8], source: &mut Source<'_>) {
        let id = self.clients[index].id;
        let (first, second) = bytes.split_at(bytes.len().min(source.byte().into()));
        for piece in [first, second] {
            // The broker may have closed it meanwhile.
            let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else {
                return;
            };
            client.output.client_sent(piece);
            client.input.extend_from_slice(piece);
            self.broker.handle_input(self.now, id, &mut client.input);
            self.settle();
        }
    }

    fn pass_time(&mut self, source: &mut Source<'_>) {
        let due = self.broker.poll_timeout().filter(|due| *due > self.now);
        self.now = match source.byte() {
            0 => due.unwrap_or(self.now),
            u8::MAX => self.now + Duration::from_secs(source.u32().into()),
            tenths => self.now + Duration::from_millis(u64::from(tenths) * 100),
        };
        self.broker.handle_timeout(self.now);
        let still_due = self
            .broker
            .poll_timeout()
            .is_some_and(|due| due <= self.now);
        assert!(!still_due, "something stays due");
    }

    /// When everybody has left, no connection is.
    fn finish(&mut self) {
        for client in std::mem::take(&mut self.clients) {
            self.broker.closed(self.now, client.id);
        }
        self.settle();
        let stats = self.broker.stats();
        assert_eq!(stats.connections, 0);
        // Sessions that never expire are left, but nothing waits for a time that will not come.
        for _ in 0..POLLS {
            let Some(due) = self.broker.poll_timeout() else {
                return;
            };
            self.now = self.now.max(due);
            self.broker.handle_timeout(self.now);
        }
        panic!("there is always something due");
    }
}
