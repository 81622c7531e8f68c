//! However the stream of bytes is cut into reads, the client does the same (MQTT-4.2.0-1).

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Packet, ReasonCode};
use ferromqtt_proto::{Event, Message, Properties, ProtocolVersion, QoS};
use proptest::prelude::*;

use crate::support::*;

/// A packet that a server may send, or something broken.
fn server_bytes(version: ProtocolVersion) -> impl Strategy<Value = Bytes> {
    let id = 1_u16..8;
    let publish =
        (0_u8..3, id.clone(), "[a-c]{1,3}", 0_usize..300).prop_map(|(qos, id, topic, length)| {
            let qos = QoS::from_value(qos).unwrap();
            let id = if qos == AtMostOnce { 0 } else { id };
            Packet::Publish(message(&topic, &"x".repeat(length), qos, id))
        });
    let reasons: &[ReasonCode] = if version == V5 {
        &[ReasonCode::Success]
    } else {
        &[]
    };
    let packet = prop_oneof![
        6 => publish,
        1 => id.clone().prop_map(puback),
        1 => id.clone().prop_map(pubrec),
        1 => id.clone().prop_map(pubrel),
        1 => id.clone().prop_map(pubcomp),
        1 => id.clone().prop_map(|id| suback(id, &[ReasonCode::GrantedQos1])),
        1 => id.prop_map(move |id| unsuback(id, reasons)),
        1 => Just(Packet::PingResp),
    ];
    let good = packet.prop_map(move |packet| {
        let mut bytes = BytesMut::new();
        packet.encode(version, &mut bytes);
        bytes.freeze()
    });
    let bad = proptest::collection::vec(any::<u8>(), 1..6).prop_map(Bytes::from);
    prop_oneof![20 => good, 1 => bad]
}

/// All that comes out of a client whose server sends `stream` in pieces that end at `ends`.
fn play(
    version: ProtocolVersion,
    stream: &[u8],
    ends: &[usize],
) -> (Vec<Event>, Vec<Message>, Bytes) {
    let mut pair = Pair::connected(options(version));
    for qos in [AtLeastOnce, AtLeastOnce, ExactlyOnce, ExactlyOnce] {
        pair.publish("t", "x", qos);
    }
    pair.subscribe(&["a"]);
    pair.unsubscribe(&["b"]);
    let mut at = 0;
    for &end in ends.iter().chain([&stream.len()]) {
        if at < end && pair.link_is_up() {
            pair.server_sends_bytes(&stream[at..end]);
            at = end;
        }
    }
    (pair.events(), pair.messages(), pair.bytes())
}

fn any_split_is_the_same(
    version: ProtocolVersion,
    pieces: &[Bytes],
    cuts: &[usize],
) -> Result<(), TestCaseError> {
    let stream = pieces.concat();
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    ends.sort_unstable();
    let whole = play(version, &stream, &[]);
    prop_assert_eq!(
        &play(version, &stream, &ends),
        &whole,
        "split at {:?}",
        ends
    );
    let each_byte: Vec<_> = (0..stream.len()).collect();
    prop_assert_eq!(&play(version, &stream, &each_byte), &whole, "byte by byte");
    Ok(())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events_in_3_1_1(
        pieces in proptest::collection::vec(server_bytes(V311), 1..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
    ) {
        any_split_is_the_same(V311, &pieces, &cuts)?;
    }

    #[test]
    fn any_split_gives_the_same_events_in_5_0(
        pieces in proptest::collection::vec(server_bytes(V5), 1..12),
        cuts in proptest::collection::vec(any::<usize>(), 0..10),
    ) {
        any_split_is_the_same(V5, &pieces, &cuts)?;
    }
}

/// The hint spares a driver growing its buffer step by step, and never asks for more than the Maximum Packet Size.
#[test]
fn the_input_hint_tells_what_is_missing() {
    let pair = Pair::connected(options(V311));
    let client = &pair.client;
    for (input, missing) in [
        (&b""[..], 1),
        (b"\x30", 1),
        (b"\x30\x80", 1),
        (b"\x30\x05", 5),
        (b"\x30\x05\x00", 4),
        (b"\x30\xff\xff\xff\x7f", 268_435_455),
        (b"\xd0\x00\x30\x05\x00", 4),
    ] {
        assert_eq!(client.input_hint(input), missing, "{input:?}");
    }
    let mut options = options(V5);
    options.properties = maximum_packet_size(100);
    let pair = Pair::connected_with(options, Properties::default());
    assert_eq!(pair.client.input_hint(b"\x30\xff\x7f"), 1, "refused anyway");
}
