//! A server that sends more QoS 1 and 2 messages at once than our Receive Maximum allows, as mosquitto 2.0.11 does on bursts:
//! a client that is not strict takes them, within bounds. What a strict one does stands in `own_receive_maximum.rs`.

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Acknowledge, ConnectionError, Event, Options, Properties, QoS, ReasonCode, Slip,
};

use crate::support::*;

const MOST_BYTES: usize = 64 << 20;

fn announcing(limit: u16) -> Options {
    let mut options = resuming(V5);
    options.properties = receive_maximum(limit);
    options.strict = false;
    options
}

fn holding(limit: u16) -> Options {
    let mut options = announcing(limit);
    options.incoming = by_application();
    options
}

fn publish(qos: QoS, packet_id: u16) -> Packet {
    Packet::Publish(message("t", "x", qos, packet_id))
}

/// A PUBLISH that has so many bytes as a whole.
fn of_length(qos: QoS, packet_id: u16, length: usize) -> BytesMut {
    let mut publish = message("t", "", qos, packet_id);
    publish.payload = Bytes::from(vec![7; length - 1 - 4 - 6]); // a Remaining Length of four bytes
    let bytes = in_one_read(V5, [Packet::Publish(publish)]);
    assert_eq!(bytes.len(), length);
    bytes
}

fn slips(pair: &mut Pair) -> Vec<Slip> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::Tolerated { slip } => Some(slip),
            Event::Disconnected { cause, .. } => panic!("{cause:?}"),
            _ => None,
        })
        .collect()
}

fn assert_exceeded(pair: &mut Pair) {
    let sent = pair.sent();
    assert_eq!(sent.last().map(String::as_str), Some("DISCONNECT 0x93"));
    let ConnectionError::ProtocolViolation(error) = pair.cause() else {
        panic!("not told as a violation");
    };
    assert_eq!(error.reason, ReasonCode::ReceiveMaximumExceeded);
}

/// The scene of mosquitto: a burst in one read. All of it comes, and is acknowledged in order.
#[test]
fn a_burst_beyond_the_receive_maximum_is_taken_whole() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut options = announcing(10);
        options.incoming.limit = None;
        let mut pair = Pair::connected(options);
        pair.events();
        let burst: Vec<_> = (1..=2_900).map(|id| publish(qos, id)).collect();
        let bytes = in_one_read(V5, burst);
        pair.server_sends_bytes(&bytes);
        assert!(pair.client.is_connected());
        assert_eq!(slips(&mut pair), [Slip::ReceiveMaximumExceeded]);
        assert_eq!(pair.client.stats().tolerated, 2_890);
        assert_eq!(pair.messages().len(), 2_900);
        let answer = if qos == AtLeastOnce {
            "PUBACK"
        } else {
            "PUBREC"
        };
        let expected: Vec<_> = (1..=2_900).map(|id| format!("{answer} {id}")).collect();
        assert_eq!(pair.sent(), expected);
    }
}

/// It is announced all the same: a server that keeps to it is the rule.
#[test]
fn the_receive_maximum_is_announced_by_a_tolerant_client() {
    let mut pair = Pair::new(announcing(10));
    pair.connect();
    let connect = pair.accept(false, Properties::default());
    assert_eq!(connect.properties, receive_maximum(10));
    for packet_id in 1..=10 {
        pair.server_sends(publish(ExactlyOnce, packet_id));
    }
    assert_eq!(slips(&mut pair), []);
}

/// More messages than there are Packet Identifiers cannot be told apart.
#[test]
fn as_many_messages_as_packet_identifiers_are_taken_and_no_more() {
    for (qos, version) in [(AtLeastOnce, V5), (ExactlyOnce, V5), (AtLeastOnce, V311)] {
        let mut pair = Pair::connected(match version {
            V5 => holding(10),
            _ => {
                let mut options = options(version);
                options.incoming = by_application();
                options.strict = false;
                options
            }
        });
        let all = (1..=u16::MAX).map(|id| publish(qos, id));
        pair.server_sends_bytes(&in_one_read(version, all));
        assert!(pair.client.is_connected());
        assert_eq!(pair.messages().len(), usize::from(u16::MAX));
        let one_more = if qos == AtLeastOnce { 1 } else { 2 };
        pair.server_sends(publish(AtLeastOnce, one_more));
        assert!(!pair.client.is_connected());
        if version == V5 {
            assert_exceeded(&mut pair);
        }
    }
}

/// What counts is what the application holds, and answers that have not left.
#[test]
fn sixty_four_mib_of_whole_packets_are_taken_and_no_more() {
    const LENGTH: usize = MOST_BYTES / 16;
    for acknowledge in [Acknowledge::ByApplication, Acknowledge::OnReceipt] {
        for qos in [AtLeastOnce, ExactlyOnce] {
            let mut options = holding(2);
            options.incoming.acknowledge = acknowledge;
            let mut pair = Pair::connected(options);
            pair.writable = acknowledge == Acknowledge::ByApplication;
            for packet_id in 1..=16 {
                pair.server_sends_bytes(&of_length(qos, packet_id, LENGTH));
            }
            assert!(pair.client.is_connected(), "exactly the bound");
            assert_eq!(pair.client.stats().tolerated, 14);
            assert_eq!(pair.messages().len(), 16);
            pair.server_sends(publish(qos, 17));
            assert!(!pair.client.is_connected());
            pair.writable = true;
            pair.pump();
            assert_exceeded(&mut pair);
            assert!(pair.messages().is_empty());
        }
    }
}

/// A server that keeps to the Receive Maximum may send packets of any size.
#[test]
fn no_bound_of_bytes_holds_within_the_receive_maximum() {
    let mut pair = Pair::connected(holding(3));
    for packet_id in 1..=3 {
        let packet = of_length(AtLeastOnce, packet_id, MOST_BYTES / 2);
        pair.server_sends_bytes(&packet);
    }
    assert!(pair.client.is_connected());
    assert_eq!(slips(&mut pair), []);
}

/// Section 4.9: what was answered counts no more, whoever answered it.
#[test]
fn answers_make_room_for_more_bytes() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(holding(1));
        for round in 0..4 {
            for packet_id in 1..=4 {
                pair.server_sends_bytes(&of_length(qos, packet_id, MOST_BYTES / 4));
            }
            assert!(pair.client.is_connected(), "round {round}");
            let messages = pair.messages();
            assert_eq!(messages.len(), 4);
            for message in messages {
                pair.acknowledge(message.delivery.unwrap());
            }
            for packet_id in 1..=4 {
                if qos == ExactlyOnce {
                    pair.server_sends(pubrel(packet_id));
                }
            }
        }
    }
}

/// Section 4.9: the count begins again with each connection.
#[test]
fn a_new_connection_counts_anew() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut pair = Pair::connected(holding(1));
        for _ in 0..3 {
            for packet_id in 1..=4 {
                let mut packet = of_length(qos, packet_id, MOST_BYTES / 4);
                packet[0] |= 0x08; // DUP
                pair.server_sends_bytes(&packet);
            }
            assert!(pair.client.is_connected());
            pair.reconnect(true);
        }
        assert_eq!(pair.messages().len(), 4);
    }
}
