//! What queued messages keep alive: each is a slice of the memory that was read into, and the rest of that must not stay for
//! it.

use bytes::{BufMut, Bytes, BytesMut};
use ferromqtt_proto::packet::{self, Packet};
use ferromqtt_proto::{
    CleanStart, Event, Message, Outcome, Overflow, Properties, Publish, QueueId, QueueOptions,
    ReasonCode, Session, TopicName,
};
use proptest::prelude::*;

use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;

/// The memory of one read.
const CHUNK: usize = 64 * 1024;

/// What queues may keep alive beyond twice what their messages count.
const SLACK: usize = 256 * 1024;

/// One read into memory of its own, which this test holds on to.
struct Read(Bytes);

impl Read {
    fn of(pair: &mut Pair, packets: &[Packet]) -> Self {
        let mut input = BytesMut::with_capacity(CHUNK);
        for packet in packets {
            packet.encode(pair.client.options().protocol, &mut input);
        }
        assert!(input.len() < CHUNK);
        input.put_u8(0x30); // the beginning of one more stays in the memory
        pair.client.handle_input(pair.now, &mut input);
        Self(input.freeze())
    }

    fn message(pair: &mut Pair, topic: &str, length: usize) -> Self {
        Self::of(pair, &[publish(topic, length)])
    }

    /// Whether any message is still a slice of it.
    fn is_alive(&self) -> bool {
        !self.0.is_unique()
    }
}

fn publish(topic: &str, length: usize) -> Packet {
    Packet::Publish(message(topic, &"x".repeat(length), AtMostOnce, 0))
}

fn alive(reads: &[Read]) -> usize {
    reads.iter().filter(|read| read.is_alive()).count()
}

/// As many chunks as messages with these payloads may keep alive.
fn most_alive(payloads: &[usize]) -> usize {
    (SLACK + 2 * counted(payloads)) / CHUNK
}

fn unbounded(version: ferromqtt_proto::ProtocolVersion) -> Pair {
    let mut options = options(version);
    options.incoming = QueueOptions::UNBOUNDED;
    Pair::connected(options)
}

fn drain(pair: &mut Pair, queue: QueueId) -> Vec<Message> {
    std::iter::from_fn(|| pair.client.next_message(queue)).collect()
}

#[test]
fn small_messages_that_stay_do_not_keep_what_was_read_with_them() {
    for version in VERSIONS {
        let mut pair = unbounded(version);
        let reads: Vec<_> = (0..40)
            .map(|length| Read::message(&mut pair, "t", length))
            .collect();
        assert!(alive(&reads) <= most_alive(&Vec::from_iter(0..40)));
        let messages = drain(&mut pair, DEFAULT);
        assert_eq!(messages.len(), 40);
        for (length, message) in messages.iter().enumerate() {
            assert_eq!(message.topic.as_str(), "t");
            assert_eq!(message.payload, "x".repeat(length));
        }
    }
}

/// The properties and the topic are slices as well.
#[test]
fn messages_without_payload_keep_nothing_else_either() {
    let mut pair = unbounded(V5);
    let mut publish = message("t", "", AtMostOnce, 0);
    let mut properties = Properties {
        content_type: Some(text("text")),
        correlation_data: Some(Bytes::from_static(b"data")),
        ..Properties::default()
    };
    (properties.user_properties).push((text("name"), text("value")));
    publish.properties = Some(Box::new(properties.clone()));
    let packets = [Packet::Publish(publish)];
    let reads: Vec<_> = (0..40).map(|_| Read::of(&mut pair, &packets)).collect();
    let size = 40 * pair.take(DEFAULT).memory_size();
    assert!(alive(&reads) <= (SLACK + 2 * size) / CHUNK);
    for message in drain(&mut pair, DEFAULT) {
        assert_eq!(message.properties.as_deref(), Some(&properties));
    }
}

#[test]
fn a_message_that_is_taken_at_once_is_never_copied() {
    let mut pair = unbounded(V5);
    let mut kept = Vec::new();
    for _ in 0..40 {
        let read = Read::message(&mut pair, "t", 1);
        kept.extend(drain(&mut pair, DEFAULT));
        assert!(read.is_alive());
    }
    assert_eq!(kept.len(), 40);
}

/// What makes up most of the memory that it keeps alive stays as it is, however much there is.
#[test]
fn large_payloads_and_full_reads_are_not_copied() {
    let small = |pair: &mut Pair| {
        let packets: Vec<_> = (0..1_000).map(|_| publish("some/topic", 40)).collect();
        Read::of(pair, &packets)
    };
    let large = |pair: &mut Pair| Read::message(pair, "t", 60_000);
    for read in [small as fn(&mut Pair) -> Read, large] {
        let mut pair = unbounded(V5);
        let reads: Vec<_> = (0..40).map(|_| read(&mut pair)).collect();
        assert_eq!(alive(&reads), 40);
        pair.take(DEFAULT);
    }
}

/// A reader that stops behind one that goes on: of each read only one message is left.
#[test]
fn what_is_left_of_full_reads_does_not_keep_them() {
    let mut pair = unbounded(V5);
    let slow = pair.queue(&["slow"], QueueOptions::UNBOUNDED);
    let mut packets: Vec<_> = (0..500).map(|_| publish("t", 60)).collect();
    packets.push(publish("slow", 60));
    let reads: Vec<_> = (0..20).map(|_| Read::of(&mut pair, &packets)).collect();
    assert_eq!(alive(&reads), 20);
    assert_eq!(drain(&mut pair, DEFAULT).len(), 20 * 500);
    assert!(alive(&reads) <= most_alive(&[60; 20]));
    assert_eq!(drain(&mut pair, slow).len(), 20);
}

/// Memory that is read into again and again is one chunk, which ends with its last message.
#[test]
fn messages_that_share_memory_over_several_reads_keep_it_together() {
    let mut pair = unbounded(V5);
    let mut input = BytesMut::with_capacity(CHUNK);
    while input.capacity() > 200 {
        publish("t", 60).encode(V5, &mut input);
        pair.client.handle_input(pair.now, &mut input);
    }
    let read = Read(input.freeze());
    assert!(read.is_alive(), "it is full of messages");
    let reads: Vec<_> = (0..40)
        .map(|_| Read::message(&mut pair, "t", 60_000))
        .collect();
    assert!(read.is_alive() && alive(&reads) == 40);
    drain(&mut pair, DEFAULT);
    assert!(!read.is_alive() && alive(&reads) == 0);
}

/// A queue that was closed keeps nothing, and counts for nothing.
#[test]
fn a_closed_queue_leaves_room_for_what_others_keep() {
    let mut pair = unbounded(V5);
    for _ in 0..10 {
        let queue = pair.queue(&["t"], QueueOptions::UNBOUNDED);
        let reads = [(); 4].map(|()| Read::message(&mut pair, "t", 1));
        assert_eq!(alive(&reads), 4, "not too much");
        pair.client.close_queue(queue);
        assert_eq!(alive(&reads), 0);
    }
}

fn resumed() -> Pair {
    let mut options = resuming(V5);
    options.clean_start = CleanStart::Never;
    options.incoming = QueueOptions::UNBOUNDED;
    let mut pair = Pair::unclaimed(options, Session::default());
    pair.connect();
    pair.accept(true, Properties::default());
    pair
}

#[test]
fn messages_that_wait_to_be_claimed_keep_nothing_else() {
    let mut pair = resumed();
    let reads: Vec<_> = (1..=20)
        .map(|id| {
            Read::of(
                &mut pair,
                &[Packet::Publish(message("t", "x", AtLeastOnce, id))],
            )
        })
        .collect();
    assert_eq!(pair.client.stats().awaiting_claim, 20);
    assert_eq!(alive(&reads), 0);
    pair.client.claim_default();
    assert_eq!(drain(&mut pair, DEFAULT).len(), 20);
}

#[test]
fn messages_of_a_detached_queue_keep_nothing_else() {
    for claimed in [true, false] {
        let mut pair = resumed();
        if claimed {
            pair.client.claim_default();
        }
        let queue = pair.queue(&["t"], QueueOptions::UNBOUNDED);
        let reads = [(); 4].map(|()| Read::message(&mut pair, "t", 1));
        let large = Read::message(&mut pair, "t", 60_000);
        assert_eq!(alive(&reads), 4);
        pair.client.detach_queue(pair.now, queue);
        assert_eq!(alive(&reads), 0);
        assert!(large.is_alive(), "it is most of its memory");
        pair.client.claim_default();
        assert_eq!(drain(&mut pair, DEFAULT).len(), 5);
    }
}

/// While input is held back it is read little by little for the answer to a PINGREQ.
#[test]
fn held_back_input_keeps_little_more_than_its_bytes() {
    let mut options = options(V5);
    options.incoming = limited(2, Overflow::Wait);
    let mut pair = Pair::connected(options);
    let mut reads: Vec<_> = (0..3).map(|_| Read::message(&mut pair, "t", 1)).collect();
    assert!(pair.client.input_paused());
    assert_eq!(alive(&reads), 2);
    reads.extend((0..20).map(|length| Read::message(&mut pair, "t", length)));
    assert_eq!(alive(&reads), 2);
    for length in [1, 1, 1].into_iter().chain(0..20) {
        assert_eq!(pair.take(DEFAULT).payload.len(), length);
    }
}

/// What answers and events tell may be kept for long too.
#[test]
fn the_properties_of_answers_keep_nothing_else() {
    let reported = || {
        let mut properties = Properties {
            reason_string: Some(text("because")),
            ..Properties::default()
        };
        (properties.user_properties).push((text("name"), text("value")));
        properties
    };
    let mut pair = Pair::new(options(V5));
    pair.connect();
    let mut reads = vec![Read::of(&mut pair, &[accepted(false, reported())])];
    pair.pump();
    pair.publish("t", "x", AtLeastOnce);
    pair.subscribe_to(&["a"], DEFAULT);
    let puback = Packet::PubAck(packet::Ack {
        properties: Some(Box::new(reported())),
        ..packet::Ack::success(id(1))
    });
    let suback = Packet::SubAck(Box::new(packet::SubAck {
        packet_id: id(2),
        properties: reported(),
        reasons: vec![ReasonCode::Success],
    }));
    let disconnect = Packet::Disconnect(Box::new(packet::Disconnect {
        reason: ReasonCode::ServerBusy,
        properties: reported(),
    }));
    for packet in [puback, suback, disconnect] {
        reads.push(Read::of(&mut pair, &[packet]));
    }
    let events: Vec<_> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    let tell = events
        .iter()
        .filter(|it| format!("{it:?}").contains("because"));
    assert!(tell.count() >= 3, "{events:?}");
    assert_eq!(alive(&reads), 0);
}

#[test]
fn a_response_that_nobody_takes_keeps_nothing_else() {
    let mut pair = Pair::connected(options(V5));
    let request = Publish::new(TopicName::new("t").unwrap(), "");
    pair.client.request(pair.now, request).unwrap();
    pair.pump();
    let packets = pair.packets();
    let asked = packets.iter().find_map(|packet| match packet {
        Packet::Publish(publish) => publish.properties.clone(),
        _ => None,
    });
    let asked = asked.expect("a request was published");
    let topic = asked
        .response_topic
        .clone()
        .expect("it asks for a response");
    let mut response = message(&topic, "x", AtMostOnce, 0);
    response.properties = Some(Box::new(Properties {
        correlation_data: asked.correlation_data.clone(),
        ..Properties::default()
    }));
    let Some(Packet::Subscribe(subscribe)) = packets.first() else {
        panic!("not subscribed: {packets:?}");
    };
    pair.server_sends(suback(subscribe.packet_id.get(), &[ReasonCode::Success]));
    let read = Read::of(&mut pair, &[Packet::Publish(response)]);
    let events: Vec<_> = std::iter::from_fn(|| pair.client.poll_event()).collect();
    let responded = events.iter().any(|event| {
        matches!(event, Event::Completed { outcome: Outcome::Responded(response), .. } if response.payload == "x")
    });
    assert!(responded, "{events:?}");
    assert!(!read.is_alive());
}

proptest! {
    /// Whatever comes, and in whatever order it is taken.
    #[test]
    fn queues_keep_at_most_twice_what_they_count_alive(
        steps in proptest::collection::vec((0..4_usize, 0..3_usize, 0..60_usize, prop_oneof![Just(1_usize), Just(100), Just(20_000)]), 1..150)
    ) {
        let mut pair = unbounded(V5);
        let queues = [
            DEFAULT,
            pair.queue(&["1", "both"], QueueOptions::UNBOUNDED),
            pair.queue(&["2", "both"], QueueOptions::UNBOUNDED),
        ];
        let (mut reads, mut counts) = (Vec::new(), [const { std::collections::VecDeque::new() }; 3]);
        for (what, queue, times, length) in steps {
            if what == 0 {
                for _ in 0..times {
                    let message = pair.client.next_message(queues[queue]);
                    prop_assert_eq!(message.map(|it| it.memory_size()), counts[queue].pop_front());
                }
            } else {
                let topic = ["0", "1", "both"][queue];
                let to: &[usize] = [&[0][..], &[1], &[1, 2]][queue];
                let count = if length > 100 { 2 } else { times };
                let packets: Vec<_> = (0..count).map(|_| publish(topic, length)).collect();
                reads.push(Read::of(&mut pair, &packets));
                let size = counted(&[length]) - 1 + topic.len();
                to.iter().for_each(|&it| counts[it].extend(std::iter::repeat_n(size, count)));
            }
            let counted: usize = counts.iter().flatten().sum();
            prop_assert!(alive(&reads) * CHUNK <= SLACK + 2 * counted + CHUNK);
        }
        for (queue, counts) in queues.iter().zip(counts) {
            prop_assert_eq!(drain(&mut pair, *queue).len(), counts.len());
        }
        prop_assert_eq!(alive(&reads), 0);
    }
}
