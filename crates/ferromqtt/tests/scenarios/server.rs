//! The server's side of one connection, as a test plays it by hand.

#![allow(dead_code, reason = "each of the two test programs uses a part of it")]

use std::time::Duration;

use bytes::BytesMut;
use ferromqtt_proto::packet::{
    self, Ack, ConnAck, Connect, Packet, PacketId, Properties, ProtocolVersion, ReasonCode, SubAck,
    UnsubAck,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

const VERSION: ProtocolVersion = ProtocolVersion::V5;

/// Long enough for virtual time too, where waiting costs nothing.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) struct Server<S> {
    pub(crate) stream: S,
    received: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
        }
    }

    /// Reads CONNECT and accepts it.
    pub(crate) async fn accept(stream: S, session_present: bool) -> (Self, Connect) {
        let mut server = Self::new(stream);
        let connect = server.connect().await;
        server
            .send(&Packet::ConnAck(Box::new(ConnAck {
                session_present,
                reason: ReasonCode::Success,
                properties: Properties::default(),
            })))
            .await;
        (server, connect)
    }

    pub(crate) async fn connect(&mut self) -> Connect {
        match self.next().await {
            Some(Packet::Connect(connect)) => *connect,
            other => panic!("CONNECT expected, not {other:?}"),
        }
    }

    pub(crate) async fn publish(&mut self) -> packet::PublishPacket {
        match self.next().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("PUBLISH expected, not {other:?}"),
        }
    }

    /// Expects SUBSCRIBE, and answers with `reason` for its one filter.
    pub(crate) async fn subscribe(&mut self, reason: ReasonCode) {
        self.subscribe_all(&[reason]).await;
    }

    /// Expects SUBSCRIBE, and answers with these for its filters.
    pub(crate) async fn subscribe_all(
        &mut self,
        reasons: &[ReasonCode],
    ) -> packet::SubscribePacket {
        let Some(Packet::Subscribe(subscribe)) = self.next().await else {
            panic!("SUBSCRIBE expected");
        };
        self.suback(subscribe.packet_id, reasons).await;
        *subscribe
    }

    pub(crate) async fn suback(&mut self, packet_id: PacketId, reasons: &[ReasonCode]) {
        self.send(&Packet::SubAck(Box::new(SubAck {
            packet_id,
            properties: Properties::default(),
            reasons: reasons.to_vec(),
        })))
        .await;
    }

    /// Expects UNSUBSCRIBE of one filter, and confirms it.
    pub(crate) async fn unsubscribe(&mut self) -> String {
        self.unsubscribe_all(&[ReasonCode::Success]).await.remove(0)
    }

    /// Expects UNSUBSCRIBE, and answers with these for its filters.
    pub(crate) async fn unsubscribe_all(&mut self, reasons: &[ReasonCode]) -> Vec<String> {
        let Some(Packet::Unsubscribe(unsubscribe)) = self.next().await else {
            panic!("UNSUBSCRIBE expected");
        };
        self.send(&Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: unsubscribe.packet_id,
            properties: Properties::default(),
            reasons: reasons.to_vec(),
        })))
        .await;
        let filters = unsubscribe.filters.iter();
        filters.map(ToString::to_string).collect()
    }

    pub(crate) async fn puback(&mut self, packet_id: Option<PacketId>, reason: ReasonCode) {
        let packet_id = packet_id.expect("a QoS 1 PUBLISH has a Packet Identifier");
        self.send(&Packet::PubAck(Ack::new(packet_id, reason)))
            .await;
    }

    /// Expects DISCONNECT, and the end of the stream behind it.
    pub(crate) async fn disconnected(&mut self) -> packet::Disconnect {
        let Some(Packet::Disconnect(disconnect)) = self.next().await else {
            panic!("DISCONNECT expected");
        };
        assert_eq!(self.next().await, None);
        *disconnect
    }

    pub(crate) async fn send(&mut self, packet: &Packet) {
        let mut bytes = BytesMut::new();
        packet.encode(VERSION, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet, or `None` when the client has closed or cut the connection.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        timeout(LIMIT, self.read()).await.expect("a packet in time")
    }

    async fn read(&mut self) -> Option<Packet> {
        loop {
            let whole = packet::whole_packets(&self.received, usize::MAX).unwrap();
            if whole.bytes > 0 {
                let source = self.received.clone().freeze();
                let mut at = 0;
                let packet = packet::decode(&source, &mut at, VERSION).unwrap();
                let _ = self.received.split_to(at);
                return Some(packet);
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }
}
