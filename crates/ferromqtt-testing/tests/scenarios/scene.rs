//! A broker, scripted clients, and a clock that stands still unless it is moved.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{
    self, Ack, ConnAck, Connect, Packet, PacketId, Properties, ProtocolVersion, PublishPacket, QoS,
    ReasonCode, SubAck, SubscribePacket, SubscriptionOptions, Will,
};
use ferromqtt_testing::{Broker, BrokerOptions, ConnectionId};

pub(crate) const VERSIONS: [ProtocolVersion; 3] = [
    ProtocolVersion::V31,
    ProtocolVersion::V311,
    ProtocolVersion::V5,
];

pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) now: Instant,
    received: HashMap<ConnectionId, BytesMut>,
    closed: BTreeSet<ConnectionId>,
}

/// One end of a connection; `version` is what its packets are coded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) id: ConnectionId,
    pub(crate) version: ProtocolVersion,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(set: impl FnOnce(&mut BrokerOptions)) -> Self {
        let mut options = BrokerOptions::default();
        set(&mut options);
        Self::serving(Broker::new(options))
    }

    pub(crate) fn serving(broker: Broker) -> Self {
        Self {
            broker,
            now: Instant::now(),
            received: HashMap::new(),
            closed: BTreeSet::new(),
        }
    }

    /// Opens a connection and sends nothing.
    pub(crate) fn open(&mut self, version: ProtocolVersion) -> Peer {
        let id = self.broker.open(self.now);
        Peer { id, version }
    }

    /// Connects and expects success; returns Session Present too.
    pub(crate) fn join(&mut self, connect: Connect) -> (Peer, bool) {
        let (peer, connack) = self.connect(connect);
        assert_eq!(connack.reason, ReasonCode::Success);
        (peer, connack.session_present)
    }

    /// Connects and returns the answer.
    pub(crate) fn connect(&mut self, connect: Connect) -> (Peer, ConnAck) {
        let peer = self.open(connect.protocol);
        self.send(peer, &Packet::Connect(Box::new(connect)));
        match self.next(peer) {
            Some(Packet::ConnAck(connack)) => (peer, *connack),
            other => panic!("CONNACK expected, got {other:?}"),
        }
    }

    /// A client with a session that ends with its connection.
    pub(crate) fn client(&mut self, version: ProtocolVersion, name: &str) -> Peer {
        self.join(connect(version, name)).0
    }

    pub(crate) fn send(&mut self, peer: Peer, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(peer.version, &mut bytes);
        self.send_bytes(peer, &bytes);
    }

    pub(crate) fn send_bytes(&mut self, peer: Peer, bytes: &[u8]) {
        self.feed(peer, &mut BytesMut::from(bytes));
    }

    /// Hands over `input`; what the broker leaves in it is the beginning of a packet.
    pub(crate) fn feed(&mut self, peer: Peer, input: &mut BytesMut) {
        self.broker.handle_input(self.now, peer.id, input);
        self.collect();
    }

    pub(crate) fn subscribe(
        &mut self,
        peer: Peer,
        filter: &str,
        options: impl Into<SubscriptionOptions>,
    ) -> ReasonCode {
        let subscribe = SubscribePacket {
            packet_id: packet_id(1),
            properties: Properties::default(),
            filters: [(text(filter), options.into())].into(),
        };
        self.send(peer, &Packet::Subscribe(Box::new(subscribe)));
        match self.next(peer) {
            Some(Packet::SubAck(suback)) => suback_reason(&suback),
            other => panic!("SUBACK expected, got {other:?}"),
        }
    }

    /// Publishes; at QoS 1 and 2 the whole exchange takes place.
    pub(crate) fn publish(&mut self, peer: Peer, publish: PublishPacket) {
        let qos = publish.qos;
        self.send(peer, &Packet::Publish(publish));
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => assert!(matches!(self.next(peer), Some(Packet::PubAck(_)))),
            QoS::ExactlyOnce => {
                let Some(Packet::PubRec(ack)) = self.next(peer) else {
                    panic!("PUBREC expected");
                };
                self.send(peer, &Packet::PubRel(Ack::success(ack.packet_id)));
                assert_eq!(
                    self.next(peer),
                    Some(Packet::PubComp(Ack::success(ack.packet_id)))
                );
            }
        }
    }

    /// The next packet from the broker.
    pub(crate) fn next(&mut self, peer: Peer) -> Option<Packet> {
        self.collect();
        let received = self.received.get_mut(&peer.id)?;
        let whole =
            packet::whole_packets(received, usize::MAX).expect("the broker writes whole packets");
        if whole.bytes == 0 {
            return None;
        }
        let source = received.clone().freeze();
        let mut at = 0;
        let packet = packet::decode(&source, &mut at, peer.version)
            .expect("the broker keeps to the standard");
        let _ = received.split_to(at);
        Some(packet)
    }

    /// All bytes that have come.
    pub(crate) fn bytes(&mut self, peer: Peer) -> Vec<u8> {
        self.collect();
        let received = self.received.get_mut(&peer.id);
        received.map_or_else(Vec::new, |received| received.split().to_vec())
    }

    /// The next packet, which must be PUBLISH.
    pub(crate) fn message(&mut self, peer: Peer) -> PublishPacket {
        match self.next(peer) {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("PUBLISH expected, got {other:?}"),
        }
    }

    /// The payloads of all messages that came; nothing else may be among them.
    pub(crate) fn payloads(&mut self, peer: Peer) -> Vec<String> {
        let mut payloads = Vec::new();
        while let Some(packet) = self.next(peer) {
            let Packet::Publish(publish) = packet else {
                panic!("PUBLISH expected, got {packet:?}");
            };
            payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
        payloads
    }

    /// Whether the broker closed the connection.
    pub(crate) fn is_closed(&mut self, peer: Peer) -> bool {
        self.collect();
        self.closed.contains(&peer.id)
    }

    /// The broker ends the connection: 5.0 is told why, 3.x nothing.
    pub(crate) fn expect_end(&mut self, peer: Peer, reason: ReasonCode) {
        match self.next(peer) {
            Some(Packet::Disconnect(disconnect)) if peer.version.is_v5() => {
                assert_eq!(disconnect.reason, reason);
            }
            other => assert!(other.is_none() && !peer.version.is_v5(), "{other:?}"),
        }
        assert_eq!(self.next(peer), None);
        assert!(self.is_closed(peer));
    }

    /// The peer's transport breaks.
    pub(crate) fn cut(&mut self, peer: Peer) {
        self.broker.closed(self.now, peer.id);
        self.collect();
    }

    /// Lets `time` pass, and everything happen at its time.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.broker.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            self.broker.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    fn collect(&mut self) {
        while let Some(id) = self.broker.poll_writable() {
            while let Some(chunk) = self.broker.poll_transmit(id) {
                self.received
                    .entry(id)
                    .or_default()
                    .extend_from_slice(&chunk);
            }
        }
        while let Some(id) = self.broker.poll_close() {
            assert!(self.closed.insert(id), "a connection is named once");
        }
    }
}

fn suback_reason(suback: &SubAck) -> ReasonCode {
    assert_eq!(suback.packet_id, packet_id(1));
    assert_eq!(suback.reasons.len(), 1);
    suback.reasons[0]
}

pub(crate) fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

pub(crate) fn packet_id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub(crate) fn connect(protocol: ProtocolVersion, name: &str) -> Connect {
    Connect {
        protocol,
        clean_start: true,
        keep_alive: 0,
        properties: Properties::default(),
        client_identifier: text(name),
        will: None,
        user_name: None,
        password: None,
    }
}

/// A CONNECT whose session outlives the connection, in every version.
pub(crate) fn connect_persistent(protocol: ProtocolVersion, name: &str) -> Connect {
    let mut connect = connect(protocol, name);
    connect.clean_start = false;
    if protocol.is_v5() {
        connect.properties.session_expiry_interval = Some(3600);
    }
    connect
}

pub(crate) fn will(topic: &str, payload: &str) -> Will {
    Will {
        topic: text(topic),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Properties::default(),
    }
}

pub(crate) fn publish(topic: &str, payload: &str, qos: QoS) -> PublishPacket {
    PublishPacket {
        dup: false,
        qos,
        retain: false,
        topic: text(topic),
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(77)),
        properties: None,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

pub(crate) fn retained(topic: &str, payload: &str, qos: QoS) -> PublishPacket {
    PublishPacket {
        retain: true,
        ..publish(topic, payload, qos)
    }
}
