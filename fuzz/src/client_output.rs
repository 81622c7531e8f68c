//! What a client may write on one connection.

use std::collections::{BTreeSet, VecDeque};
use std::iter;

use bytes::BytesMut;
use ferromqtt_proto::packet::{self, Packet, PublishPacket};
use ferromqtt_proto::{Properties, ProtocolVersion, QoS, Utf8String};

use crate::acknowledgements::Acknowledgements;
use crate::answers;
use crate::in_flight::InFlight;
use crate::source::Source;
use crate::store::Store;
use crate::stream::Stream;

/// The size of an acknowledgement and of PINGREQ: they are sent whatever the Maximum Packet Size.
const SHORTEST_ACK: usize = 4;

/// The server's end of a connection.
#[derive(Debug)]
pub struct ClientOutput {
    version: ProtocolVersion,
    /// The client refuses every slip of the server.
    strict: bool,
    written: Stream,
    /// What the server has sent, as far as its last packet is not whole.
    sent_by_server: BytesMut,
    phase: Phase,
    /// The properties of CONNACK, which limit what the client may send. It may come before the client's CONNECT is read.
    accepted: Option<Box<Properties>>,
    in_flight: InFlight,
    acknowledgements: Acknowledgements,
    aliases: BTreeSet<u16>,
    unanswered: VecDeque<Packet>,
}

#[derive(Debug)]
enum Phase {
    AwaitingConnect,
    /// With the Authentication Method.
    Connected(Option<Utf8String>),
    Disconnected,
}

impl ClientOutput {
    /// A transport on which nothing was written yet.
    pub fn new(version: ProtocolVersion, strict: bool) -> Self {
        Self {
            version,
            strict,
            written: Stream::default(),
            sent_by_server: BytesMut::new(),
            phase: Phase::AwaitingConnect,
            accepted: None,
            in_flight: InFlight::default(),
            acknowledgements: Acknowledgements::default(),
            aliases: BTreeSet::new(),
            unanswered: VecDeque::new(),
        }
    }

    /// The client has written `chunk`; with a `store`, it must have recorded before what it tells.
    pub fn wrote(&mut self, chunk: &[u8], store: Option<&Store>) {
        assert!(!chunk.is_empty(), "a chunk without bytes");
        self.written.push(chunk);
        while let Some((packet, length)) = self.written.next_packet(self.version) {
            self.check(&packet, length);
            self.in_flight.sent(&packet);
            self.acknowledgements.sent(&packet);
            if let Some(store) = store {
                store.check(&packet);
            }
            self.check_receive_maximum();
            self.unanswered.push_back(packet);
        }
    }

    /// Nothing more is to be written now.
    pub fn check_whole(&self) {
        assert!(
            self.written.is_empty(),
            "the client stopped in the middle of a packet"
        );
    }

    /// No message is held back, by the application or by a full queue.
    pub fn check_acknowledged(&self) {
        self.acknowledgements.check_none_owed();
    }

    /// What the server answers to the oldest packet that it has not answered.
    pub fn answer(&mut self, source: &mut Source<'_>) -> Option<Packet> {
        let Phase::Connected(method) = &self.phase else {
            return None;
        };
        let (version, method) = (self.version, method.as_ref());
        let accepted = self.accepted.is_some();
        iter::from_fn(|| self.unanswered.pop_front())
            .find_map(|packet| answers::of_server(&packet, version, method, accepted, source))
    }

    /// The client is about to read `bytes`.
    pub fn server_sent(&mut self, bytes: &[u8]) {
        self.sent_by_server.extend_from_slice(bytes);
        let whole = match packet::whole_packets(&self.sent_by_server, usize::MAX) {
            Ok(whole) => whole.bytes,
            Err((bytes, _)) => bytes,
        };
        let source = self.sent_by_server.split_to(whole).freeze();
        let decode = match self.strict {
            true => packet::decode,
            false => packet::decode_tolerantly,
        };
        let mut at = 0;
        while at < source.len() {
            let Ok(packet) = decode(&source, &mut at, self.version) else {
                return; // the client ends the connection here
            };
            match packet {
                Packet::ConnAck(connack) if self.accepted.is_none() => {
                    self.accepted = Some(Box::new(connack.properties));
                }
                packet => {
                    self.in_flight.answered(&packet);
                    self.acknowledgements.owe(&packet);
                }
            }
        }
    }

    fn check(&mut self, packet: &Packet, length: usize) {
        match (&self.phase, packet) {
            (Phase::AwaitingConnect, Packet::Connect(connect)) => {
                assert_eq!(connect.protocol, self.version);
                let method = connect.properties.authentication_method.clone();
                self.phase = Phase::Connected(method);
                return;
            }
            (Phase::AwaitingConnect, other) => panic!("before CONNECT came {other:?}"),
            (Phase::Disconnected, other) => panic!("behind DISCONNECT came {other:?}"),
            (Phase::Connected(_), Packet::Auth(_)) => {}
            (Phase::Connected(_), other) => {
                assert!(self.accepted.is_some(), "before CONNACK came {other:?}");
            }
        }
        self.check_size(packet, length);
        match packet {
            Packet::Publish(publish) => self.check_publish(publish),
            Packet::Disconnect(_) => self.phase = Phase::Disconnected,
            Packet::Auth(_) => assert!(self.version.is_v5()),
            Packet::PubAck(_)
            | Packet::PubRec(_)
            | Packet::PubRel(_)
            | Packet::PubComp(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => {}
            other => panic!("a client sent {other:?}"),
        }
    }

    fn check_size(&self, packet: &Packet, length: usize) {
        let limit = (self.accepted.as_ref()).and_then(|limits| limits.maximum_packet_size);
        let limit = limit.map_or(usize::MAX, |limit| limit.get() as usize);
        assert!(
            length <= limit.max(SHORTEST_ACK),
            "{length} bytes, but the server takes {limit}: {packet:?}"
        );
    }

    fn check_publish(&mut self, publish: &PublishPacket) {
        let limits = self.accepted.as_deref().cloned().unwrap_or_default();
        let maximum_qos = limits.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        assert!(publish.qos <= maximum_qos, "above the Maximum QoS");
        assert!(
            !publish.retain || limits.retain_available != Some(false),
            "RETAIN, which is not available"
        );
        let alias = (publish.properties.as_ref()).and_then(|properties| properties.topic_alias);
        let Some(alias) = alias.map(|alias| alias.0.get()) else {
            return;
        };
        let maximum = limits.topic_alias_maximum.unwrap_or(0);
        assert!(alias <= maximum, "above the Topic Alias Maximum");
        assert!(
            !publish.topic.is_empty() || self.aliases.contains(&alias),
            "an unknown Topic Alias"
        );
        self.aliases.insert(alias);
    }

    fn check_receive_maximum(&self) {
        let maximum = (self.accepted.as_ref()).and_then(|limits| limits.receive_maximum);
        let maximum = maximum.map_or(u16::MAX, |maximum| maximum.get());
        let publishing = self.in_flight.publishing();
        assert!(
            publishing <= maximum.into(),
            "{publishing} in flight, but the server takes {maximum}"
        );
    }
}
