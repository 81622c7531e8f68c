//! What a broker may write on one connection.

use std::collections::{BTreeSet, VecDeque};
use std::iter;

use bytes::BytesMut;
use ferromqtt_proto::packet::{self, Auth, Connect, Packet, PublishPacket};
use ferromqtt_proto::{ProtocolVersion, ReasonCode};

use crate::answers;
use crate::in_flight::InFlight;
use crate::source::Source;
use crate::stream::Stream;

/// The client's end of a connection.
#[derive(Debug)]
pub struct BrokerOutput {
    written: Stream,
    /// What the client has sent, as far as its last packet is not whole.
    sent_by_client: BytesMut,
    /// The first packet of the client, if that was CONNECT.
    connect: Option<Box<Connect>>,
    /// The client has sent what cannot be read: the broker reads no further.
    unreadable: bool,
    phase: Phase,
    in_flight: InFlight,
    aliases: BTreeSet<u16>,
    unanswered: VecDeque<Packet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Neither has CONNECT come nor CONNACK gone.
    Handshake,
    Connected,
    /// CONNACK with an error, or DISCONNECT.
    Ended,
}

impl Default for BrokerOutput {
    /// A transport on which nothing was written yet.
    fn default() -> Self {
        Self {
            written: Stream::default(),
            sent_by_client: BytesMut::new(),
            connect: None,
            unreadable: false,
            phase: Phase::Handshake,
            in_flight: InFlight::default(),
            aliases: BTreeSet::new(),
            unanswered: VecDeque::new(),
        }
    }
}

impl BrokerOutput {
    /// The version that CONNECT has named.
    pub fn version(&self) -> ProtocolVersion {
        // A CONNECT that cannot be read is answered in the form of 3.1.1, if at all.
        (self.connect.as_ref()).map_or(ProtocolVersion::V311, |connect| connect.protocol)
    }

    /// The broker is about to read `bytes`.
    pub fn client_sent(&mut self, bytes: &[u8]) {
        self.sent_by_client.extend_from_slice(bytes);
        let whole = match packet::whole_packets(&self.sent_by_client, usize::MAX) {
            Ok(whole) => whole.bytes,
            Err((bytes, _)) => bytes,
        };
        let source = self.sent_by_client.split_to(whole).freeze();
        let mut at = 0;
        while at < source.len() && !self.unreadable {
            let Ok(packet) = packet::decode(&source, &mut at, self.version()) else {
                self.unreadable = true;
                return;
            };
            match packet {
                Packet::Connect(connect) if self.connect.is_none() => self.connect = Some(connect),
                packet => self.in_flight.answered(&packet),
            }
        }
    }

    /// The broker has written `chunk`.
    pub fn wrote(&mut self, chunk: &[u8]) {
        assert!(!chunk.is_empty(), "a chunk without bytes");
        self.written.push(chunk);
        while let Some((packet, length)) = self.written.next_packet(self.version()) {
            self.check(&packet, length);
            self.in_flight.sent(&packet);
            self.check_receive_maximum();
            self.unanswered.push_back(packet);
        }
    }

    /// Nothing more is to be written now, and the transport stays open.
    pub fn check_at_rest(&self) {
        assert!(
            self.written.is_empty(),
            "the broker stopped in the middle of a packet"
        );
        assert_ne!(self.phase, Phase::Ended, "the connection is never closed");
    }

    /// What the client answers to the oldest packet that it has not answered.
    pub fn answer(&mut self, source: &mut Source<'_>) -> Option<Packet> {
        iter::from_fn(|| self.unanswered.pop_front()).find_map(|packet| match packet {
            Packet::Auth(mut auth) if auth.reason == ReasonCode::ContinueAuthentication => {
                auth.properties.authentication_data = None;
                Some(Packet::Auth(auth))
            }
            packet => answers::to_publish(&packet, source),
        })
    }

    fn check(&mut self, packet: &Packet, length: usize) {
        self.check_size(packet, length);
        self.phase = match (self.phase, packet) {
            (Phase::Handshake, Packet::ConnAck(connack)) => match connack.reason {
                ReasonCode::Success => Phase::Connected,
                _ => Phase::Ended,
            },
            (Phase::Handshake, Packet::Auth(auth)) => {
                self.check_auth(auth);
                Phase::Handshake
            }
            (Phase::Handshake, other) => panic!("before CONNACK came {other:?}"),
            (Phase::Ended, other) => panic!("behind the end came {other:?}"),
            (Phase::Connected, Packet::Disconnect(_)) => {
                assert!(self.version().is_v5(), "3.x has no DISCONNECT of a server");
                Phase::Ended
            }
            (Phase::Connected, packet) => {
                match packet {
                    Packet::Publish(publish) => self.check_alias(publish),
                    Packet::Auth(auth) => self.check_auth(auth),
                    Packet::PubAck(_)
                    | Packet::PubRec(_)
                    | Packet::PubRel(_)
                    | Packet::PubComp(_)
                    | Packet::SubAck(_)
                    | Packet::UnsubAck(_)
                    | Packet::PingResp => {}
                    other => panic!("a server sent {other:?}"),
                }
                Phase::Connected
            }
        };
    }

    fn check_size(&self, packet: &Packet, length: usize) {
        let limit =
            (self.connect.as_ref()).and_then(|connect| connect.properties.maximum_packet_size);
        let limit = limit.map_or(usize::MAX, |limit| limit.get() as usize);
        assert!(
            length <= limit,
            "{length} bytes, but the client takes {limit}: {packet:?}"
        );
    }

    /// AUTH names the method of CONNECT.
    fn check_auth(&self, auth: &Auth) {
        let method = (self.connect.as_ref())
            .and_then(|connect| connect.properties.authentication_method.as_ref());
        assert!(method.is_some(), "AUTH, but no Authentication Method");
        assert_eq!(auth.properties.authentication_method.as_ref(), method);
    }

    fn check_alias(&mut self, publish: &PublishPacket) {
        let alias = (publish.properties.as_ref()).and_then(|properties| properties.topic_alias);
        let Some(alias) = alias.map(|alias| alias.0.get()) else {
            return;
        };
        let maximum = (self.connect.as_ref())
            .and_then(|connect| connect.properties.topic_alias_maximum)
            .unwrap_or(0);
        assert!(alias <= maximum, "above the Topic Alias Maximum");
        assert!(
            !publish.topic.is_empty() || self.aliases.contains(&alias),
            "an unknown Topic Alias"
        );
        self.aliases.insert(alias);
    }

    fn check_receive_maximum(&self) {
        let maximum = (self.connect.as_ref())
            .and_then(|connect| connect.properties.receive_maximum)
            .map_or(u16::MAX, |maximum| maximum.get());
        let publishing = self.in_flight.publishing();
        assert!(
            publishing <= maximum.into(),
            "{publishing} in flight, but the client takes {maximum}"
        );
    }
}
