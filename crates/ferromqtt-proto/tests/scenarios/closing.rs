//! Closing a transport: what was written last arrives, and nothing lasts longer than its limit.

use bytes::BytesMut;
use ferromqtt_proto::packet::Disconnect;
use ferromqtt_proto::{
    ConnectionError, Event, Progress, Publish, ReasonCode, TcpProgress, TopicName, TransportError,
    TransportRequest,
};

use crate::support::*;
use TransportRequest::{Abort, Close, Finish};

/// A client that has sent DISCONNECT and ended its side, to a server that has not read it yet.
fn lingering() -> Pair {
    let mut pair = Pair::connected(options(V5));
    pair.server_closes = false;
    pair.events();
    pair.client.disconnect(pair.now, Disconnect::normal());
    pair.pump();
    assert_eq!(pair.sent(), ["DISCONNECT 0x00"]);
    assert_eq!(pair.requests, [Finish]);
    pair
}

/// The server's bytes reset a connection that is closed over them: they are read and thrown away.
#[test]
fn input_is_discarded_until_the_server_ends_its_side() {
    let mut pair = lingering();
    for _ in 0..5 {
        pair.advance(SECOND / 2);
        pair.server_sends_bytes(b"\x30\x04\x00\x01t\x00");
    }
    assert_eq!(pair.requests, [Finish]);
    assert!(pair.messages().is_empty());
    assert!(!pair.client.is_idle());
    pair.cut();
    assert!(pair.client.is_idle());
    assert_eq!(pair.client.poll_timeout(), None);
    assert_eq!(pair.cause(), ConnectionError::Closed);
}

#[test]
fn a_server_that_is_silent_for_a_second_is_not_waited_for() {
    let mut pair = lingering();
    pair.advance(SECOND * 9 / 10);
    assert_eq!(pair.requests, [Finish]);
    pair.advance(SECOND / 10);
    assert_eq!(pair.requests, [Finish, Close]);
    assert!(pair.client.is_idle());
}

#[test]
fn a_server_that_goes_on_sending_is_waited_for_until_the_limit() {
    let mut pair = lingering();
    for _ in 0..19 {
        pair.advance(SECOND / 2);
        pair.server_sends_bytes(b"\x30\x04\x00\x01t\x00");
    }
    assert_eq!(pair.requests, [Finish]);
    pair.advance(SECOND / 2);
    assert_eq!(pair.requests, [Finish, Close]);
}

/// A server that reads slowly has reason to be silent.
#[test]
fn a_server_that_has_still_to_read_is_waited_for_until_the_limit() {
    let mut pair = lingering();
    let progress = |unacknowledged| Progress {
        tcp: Some(TcpProgress {
            unacknowledged,
            ..TcpProgress::default()
        }),
        ..Progress::default()
    };
    for _ in 0..3 {
        pair.now += SECOND;
        assert!(pair.client.wants_progress(pair.now, 0));
        pair.client.transport_progress(pair.now, progress(1));
        pair.client.handle_timeout(pair.now);
        pair.pump();
        assert_eq!(pair.requests, [Finish]);
        assert!(!pair.client.wants_progress(pair.now, 0));
    }
    pair.now += SECOND;
    pair.client.transport_progress(pair.now, progress(0));
    pair.client.handle_timeout(pair.now);
    pair.pump();
    assert_eq!(pair.requests, [Finish, Close]);
}

/// In TLS, a peer that never sends close_notify.
#[test]
fn what_does_not_close_within_a_second_is_aborted() {
    let mut pair = lingering();
    pair.driver_closes = false;
    pair.advance(SECOND);
    assert_eq!(pair.requests, [Finish, Close]);
    pair.advance(SECOND);
    assert_eq!(pair.requests, [Finish, Close, Abort]);
    assert_eq!(pair.client.poll_timeout(), None);
}

/// The process stood still: what the server has sent meanwhile waits to be read, so the silence is none.
#[test]
fn a_silence_that_is_noticed_late_lasts_another_second() {
    let mut pair = lingering();
    pair.now += 3 * SECOND;
    pair.client.handle_timeout(pair.now);
    pair.pump();
    assert_eq!(pair.requests, [Finish]);
    pair.advance(SECOND);
    assert_eq!(pair.requests, [Finish, Close]);
}

/// A server that does not read is given up, and what it was never given is reported and stays as it was: at QoS 1 it goes out
/// later, without DUP.
#[test]
fn what_cannot_be_written_in_time_is_aborted_and_reported() {
    let mut pair = Pair::connected(resuming(V5));
    pair.events();
    pair.writable = false;
    let mut large = Publish::new(TopicName::new("t").unwrap(), vec![b'x'; 5_000]);
    large.qos = AtLeastOnce;
    pair.client.publish(pair.now, large).unwrap();
    let header = pair.client.poll_transmit(pair.now).unwrap();
    assert!(header.len() < 20, "the header alone");
    assert_eq!(late_qos0(&mut pair, 7), 7);
    let mut malformed = BytesMut::from(&b"\x00\x00"[..]);
    pair.client.handle_input(pair.now, &mut malformed);
    pair.pump();
    pair.events();
    pair.advance(SECOND * 99 / 10);
    assert!(pair.requests.is_empty(), "DISCONNECT waits to be written");
    pair.advance(SECOND / 10);
    assert_eq!(pair.requests, [Abort]);
    assert_eq!(pair.events()[0], Event::Unflushed { messages: 7 });
    assert_eq!(pair.client.stats().unflushed, 7);
    pair.writable = true;
    pair.pump();
    pair.wait_for_transport();
    pair.accept(true, Default::default());
    let sent = pair.sent();
    assert!(sent[0].starts_with("PUBLISH q1 2 xxx"), "DUP");
}

/// Encodes so many QoS 0 messages, which count as sent.
fn late_qos0(pair: &mut Pair, count: u64) -> u64 {
    let publish = Publish::new(TopicName::new("t").unwrap(), "");
    let topic = publish.topic.as_utf8().as_bytes();
    let packet = ferromqtt_proto::packet::PublishRef {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic,
        packet_id: None,
        properties: None,
        payload_len: 0,
    };
    (0..count)
        .map(|_| u64::from(pair.client.publish_at_once(packet, b"").unwrap()))
        .sum()
}

/// What a transport that breaks while it is being closed was never given.
#[test]
fn a_transport_that_fails_before_all_is_handed_over_reports_the_rest() {
    let mut pair = Pair::connected(resuming(V5));
    pair.events();
    pair.writable = false;
    assert_eq!(late_qos0(&mut pair, 100), 100);
    let mut malformed = BytesMut::from(&b"\x00\x00"[..]);
    pair.client.handle_input(pair.now, &mut malformed);
    pair.pump();
    let broken = TransportError::Failed("broken pipe".into());
    pair.events();
    pair.client.transport_closed(pair.now, broken);
    pair.pump();
    assert_eq!(pair.events(), [Event::Unflushed { messages: 100 }]);
    assert_eq!(pair.client.stats().unflushed, 100);
}

/// A server that has sent DISCONNECT reads nothing more: what was not handed over by then is not sent at all.
#[test]
fn what_a_server_that_disconnects_was_never_given_is_reported_at_once() {
    let mut pair = Pair::connected(resuming(V5));
    pair.events();
    pair.writable = false;
    assert_eq!(late_qos0(&mut pair, 100), 100);
    pair.server_sends_bytes(b"\xe0\x01\x8b");
    let [Event::Disconnected { unflushed: 100, .. }] = pair.events()[..] else {
        panic!("100 are lost");
    };
    assert_eq!(pair.client.stats().unflushed, 100);
    assert_eq!(pair.requests, [Close]);
    assert!(pair.bytes().is_empty());
}

/// The peer's fault is answered, and what answers it is written like a DISCONNECT of our own wish; then comes the next
/// connection.
#[test]
fn a_broken_rule_is_answered_before_the_transport_is_closed() {
    let mut pair = Pair::connected(resuming(V5));
    pair.server_closes = false;
    pair.server_sends_bytes(b"\x00\x00");
    assert_eq!(pair.sent(), ["DISCONNECT 0x81"]);
    assert_eq!(pair.requests, [Finish]);
    pair.advance(SECOND);
    assert_eq!(pair.requests, [Finish, Close]);
    pair.wait_for_transport();
    pair.accept(true, Default::default());
}

/// An impatient caller shortens what is under way.
#[test]
fn disconnecting_while_closing_shortens_the_limit() {
    let mut pair = Pair::connected(resuming(V5));
    pair.server_closes = false;
    pair.server_sends_bytes(b"\x00\x00");
    assert_eq!(pair.sent(), ["DISCONNECT 0x81"]);
    let soon = pair.now + SECOND / 4;
    let normal = Disconnect::because(ReasonCode::Success);
    pair.client.disconnect_within(pair.now, normal, Some(soon));
    pair.advance(SECOND / 4);
    assert_eq!(pair.requests, [Finish, Close]);
    assert!(pair.client.is_idle());
}
