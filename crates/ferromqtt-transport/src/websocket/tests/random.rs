//! Any frames, in any pieces.

use proptest::prelude::*;

use super::*;

/// All that can be seen of a WebSocket after some input; what was sent is compared unmasked.
type Seen = (
    Vec<u8>,
    Vec<(u8, Vec<u8>)>,
    Vec<WebSocketError>,
    Option<CloseReason>,
    bool,
    bool,
);

fn play<'a>(mut websocket: WebSocket, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let errors = pieces
        .filter_map(|piece| websocket.receive(piece).err())
        .collect();
    (
        websocket.poll_received().unwrap_or_default().to_vec(),
        unmasked(&websocket.poll_transmit().unwrap_or_default()),
        errors,
        websocket.close_reason().cloned(),
        websocket.is_open(),
        websocket.is_closed(),
    )
}

/// Pieces of the input that end at these places.
fn cut(input: &[u8], mut places: Vec<prop::sample::Index>) -> impl Iterator<Item = &[u8]> {
    let mut ends: Vec<usize> = places
        .drain(..)
        .map(|place| place.index(input.len() + 1))
        .collect();
    ends.push(input.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(move |end| {
        let piece = &input[start..end];
        start = end;
        piece
    })
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => Just(0x82_u8),
        2 => prop::sample::select(vec![0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => prop::sample::select(vec![0x88, 0x81, 0x0a, 0xf2]),
    ];
    let payload = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..8),
        prop::collection::vec(any::<u8>(), 120..140),
    ];
    let frame = (first, payload).prop_map(|(first, payload)| server_frame(first, &payload));
    prop::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

#[test]
fn what_frames_carry_is_appended_to_a_buffer_of_the_drivers() {
    let mut websocket = open();
    let mut buffer = BytesMut::from("before");
    let frames = [server_frame(0x82, b" and"), server_frame(0x82, b" behind")].concat();
    websocket.receive_into(&frames, &mut buffer).unwrap();
    assert_eq!(buffer, "before and behind");
    assert_eq!(websocket.poll_received(), None);
}

proptest! {
    #[test]
    fn any_split_of_frames_gives_the_same(
        frames in frames(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let input = [ANSWER.as_bytes(), &frames].concat();
        let whole = play(opening(), [&input[..]].into_iter());
        prop_assert_eq!(&play(opening(), cut(&input, places)), &whole);
        prop_assert_eq!(&play(opening(), input.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_are_received_without_a_panic(
        input in prop::collection::vec(any::<u8>(), 0..300),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        play(opening(), cut(&input, places.clone()));
        let whole = play(open(), [&input[..]].into_iter());
        prop_assert_eq!(play(open(), cut(&input, places)), whole);
    }

    #[test]
    fn any_payload_is_understood_by_another_implementation(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..6),
    ) {
        let (mut client, mut server) = with_server();
        for payload in &payloads {
            client.send_slice(payload);
        }
        to_server(&mut client, &mut server);
        for payload in payloads {
            prop_assert_eq!(server.read().unwrap(), Message::binary(payload));
        }
    }
}
