//! A queue under [`Overflow::Wait`] that fills up, so that input waits for it.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Options, Overflow, ProtocolVersion, QueueId};

use super::*;

/// A connected client, and its queue that waits beyond four messages and is subscribed to `t`.
pub(crate) fn waiting(options: Options) -> (Pair, QueueId) {
    let mut pair = Pair::connected(options);
    let queue = pair.queue(&["t"], limited(4, Overflow::Wait));
    (pair, queue)
}

/// Messages of QoS 0 with these numbers as payloads.
pub(crate) fn numbered(topic: &str, numbers: std::ops::Range<u16>) -> Vec<Packet> {
    let text = |number: u16| number.to_string();
    numbers
        .map(|number| Packet::Publish(message(topic, &text(number), AtMostOnce, 0)))
        .collect()
}

pub(crate) fn texts(numbers: std::ops::Range<u16>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

/// Each with a read of its own, as far as the client reads.
pub(crate) fn send_each(pair: &mut Pair, numbers: std::ops::Range<u16>) {
    for packet in numbered("t", numbers) {
        pair.server_sends(packet);
    }
}

/// All with one read.
pub(crate) fn send_at_once(
    pair: &mut Pair,
    version: ProtocolVersion,
    numbers: std::ops::Range<u16>,
) {
    let bytes = in_one_read(version, numbered("t", numbers));
    pair.server_sends_bytes(&bytes);
}

/// Takes so many messages, one after the other, with the driver at work in between.
pub(crate) fn take(pair: &mut Pair, queue: QueueId, count: usize) -> Vec<String> {
    let taken = (0..count).map(|_| pair.take(queue).payload);
    taken
        .map(|payload| String::from_utf8(payload.to_vec()).unwrap())
        .collect()
}

/// A full queue, with more behind it: the client has paused.
pub(crate) fn paused(options: Options) -> (Pair, QueueId) {
    let (mut pair, queue) = waiting(options);
    send_each(&mut pair, 0..6);
    assert!(pair.client.input_paused());
    pair.bytes();
    (pair, queue)
}
