//! A client in memory that a server has accepted.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::{ConnAck, Packet, Properties, ProtocolVersion, ReasonCode};
use ferromqtt_proto::{Client, Options, Session};

/// A client with these options, connected by this answer, and the time at which it is.
pub(crate) fn connected(options: Options, answer: ConnAck) -> (Client, Instant) {
    let now = Instant::now();
    let version = options.protocol;
    let mut client = Client::new(options, Session::default(), 1).expect("the options are right");
    client.connect(now);
    client.transport_opened(now);
    while client.poll_transmit(now).is_some() {}
    receive(
        &mut client,
        now,
        version,
        &[Packet::ConnAck(Box::new(answer))],
    );
    assert!(client.is_connected());
    while client.poll_event().is_some() {}
    (client, now)
}

/// Hands these packets of the server to the client.
pub(crate) fn receive(
    client: &mut Client,
    now: Instant,
    version: ProtocolVersion,
    packets: &[Packet],
) {
    let mut input = BytesMut::new();
    for packet in packets {
        packet.encode(version, &mut input);
    }
    client.handle_input(now, &mut input);
}

/// The answer of a server that has nothing to say.
pub(crate) fn accepted() -> ConnAck {
    ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::default(),
    }
}
