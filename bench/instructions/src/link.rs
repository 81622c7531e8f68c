//! A client that a server has accepted, and the way in for the server's packets.

use std::num::NonZeroU16;
use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::{ConnAck, Packet};
use ferromqtt_proto::{Client, Options, Properties, ProtocolVersion, ReasonCode, Session};

pub(crate) const VERSION: ProtocolVersion = ProtocolVersion::V311;

/// Publishes in flight.
pub(crate) const IN_FLIGHT: u16 = 100;

/// A connected client, and the only time that its clock ever shows.
pub(crate) fn connected() -> (Client, Instant) {
    let now = Instant::now();
    let mut options = Options::default();
    options.protocol = VERSION;
    options.keep_alive = 0;
    options.max_in_flight = NonZeroU16::new(IN_FLIGHT);
    let mut client = Client::new(options, Session::default(), 1).expect("the options are right");
    client.connect(now);
    client.transport_opened(now);
    while client.poll_transmit(now).is_some() {}
    let mut input = BytesMut::new();
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::default(),
    }))
    .encode(VERSION, &mut input);
    client.handle_input(now, &mut input);
    while client.poll_event().is_some() {}
    assert!(client.is_connected());
    (client, now)
}
