//! A server that answers a message by ending the connection: DISCONNECT names no message, and the session would resend it
//! forever.

use ferromqtt_proto::packet::{Disconnect, Packet, PublishRef};
use ferromqtt_proto::{
    Event, OnSessionLost, OpId, Outcome, OutgoingLimits, Properties, ReasonCode, SessionChange,
};

use crate::support::store::{self, journaled};
use crate::support::*;

/// The Reason Codes of DISCONNECT that are about a packet of the client's, and most likely a PUBLISH.
const CODES: [ReasonCode; 4] = [
    ReasonCode::PacketTooLarge,
    ReasonCode::PayloadFormatInvalid,
    ReasonCode::RetainNotSupported,
    ReasonCode::QosNotSupported,
];

const TOO_LARGE: ReasonCode = ReasonCode::PacketTooLarge;

/// The server ends the connection, and accepts the next one of the session.
fn end(pair: &mut Pair, reason: ReasonCode) {
    pair.server_sends(disconnect(reason));
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
}

/// The server closes the stream, and accepts the next one of the session.
pub(crate) fn close(pair: &mut Pair) {
    pair.reconnect(true);
}

/// What the events since the last look say: the messages suspected and refused.
pub(crate) fn findings(pair: &mut Pair) -> Vec<String> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::MessageSuspected {
                topic,
                messages,
                ends,
                reason,
            } => {
                let code = reason.map_or(0, ReasonCode::value);
                Some(format!(
                    "suspected {topic} of {messages} after {ends}: {code:02X}"
                ))
            }
            Event::MessageRefused {
                topic,
                packet_id,
                reason,
            } => Some(format!(
                "refused {topic} {packet_id}: {:02X}",
                reason.value()
            )),
            _ => None,
        })
        .collect()
}

fn is_refused(outcomes: &[(OpId, Outcome)], op: OpId, code: ReasonCode) -> bool {
    matches!(outcomes, [(it, Outcome::Refused { reason, .. })] if *it == op && *reason == code)
}

/// Section 4.13, MQTT-4.4.0-1: three times, and the session is rid of it.
#[test]
fn a_message_alone_in_flight_at_the_third_end_is_refused() {
    for code in CODES {
        for (qos, resent) in [
            (AtLeastOnce, "PUBLISH q1 1 DUP x"),
            (ExactlyOnce, "PUBLISH q2 1 DUP x"),
        ] {
            let mut pair = Pair::connected(resuming(V5));
            let op = pair.publish("t", "x", qos);
            pair.bytes();
            for _ in 0..2 {
                end(&mut pair, code);
                assert_eq!(pair.sent(), [resent]);
                assert!(pair.outcomes().is_empty());
            }
            end(&mut pair, code);
            assert!(is_refused(&pair.outcomes(), op, code));
            assert!(pair.bytes().is_empty());
            let stats = pair.client.stats();
            assert_eq!((stats.suspected, stats.refused_by_disconnect), (1, 1));
            assert_eq!((stats.outgoing, stats.outgoing_bytes), (0, 0));
            close(&mut pair);
            assert!(pair.bytes().is_empty(), "for good");
        }
    }
}

#[test]
fn a_person_learns_of_the_suspicion_and_of_the_refusal() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t/1", "x", AtLeastOnce);
    pair.publish("t/2", "y", AtLeastOnce);
    end(&mut pair, ReasonCode::QosNotSupported);
    assert!(findings(&mut pair).is_empty());
    end(&mut pair, TOO_LARGE);
    assert_eq!(findings(&mut pair), ["suspected t/1 of 2 after 2: 95"]);
    end(&mut pair, ReasonCode::RetainNotSupported);
    assert_eq!(findings(&mut pair), ["refused t/1 1: 9A"]);
    end(&mut pair, TOO_LARGE);
    assert_eq!(
        findings(&mut pair),
        ["refused t/2 2: 95"],
        "no answer between"
    );
}

/// The outcome tells what DISCONNECT says beside its code.
#[test]
fn the_refusal_has_the_words_of_the_last_disconnect() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    end(&mut pair, TOO_LARGE);
    pair.events();
    let mut last = Disconnect::because(ReasonCode::PayloadFormatInvalid);
    last.properties.reason_string = Some(text("not JSON"));
    last.properties.server_reference = Some(text("elsewhere"));
    pair.server_sends(Packet::Disconnect(Box::new(last)));
    let expected = Properties {
        reason_string: Some(text("not JSON")),
        ..Properties::default()
    };
    let outcome = Outcome::Refused {
        reason: ReasonCode::PayloadFormatInvalid,
        properties: Some(Box::new(expected)),
    };
    assert_eq!(pair.outcome(op), outcome);
}

/// MQTT-4.4.0-1: any other end says nothing about a message, however often it comes.
#[test]
fn any_other_end_gives_nothing_up() {
    for code in [
        ReasonCode::UnspecifiedError,
        ReasonCode::MalformedPacket,
        ReasonCode::ProtocolError,
        ReasonCode::ServerShuttingDown,
        ReasonCode::TopicNameInvalid,
        ReasonCode::ReceiveMaximumExceeded,
        ReasonCode::QuotaExceeded,
    ] {
        let mut pair = Pair::connected(resuming(V5));
        pair.publish("t", "x", AtLeastOnce);
        pair.bytes();
        for _ in 0..5 {
            end(&mut pair, code);
            close(&mut pair);
            assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x"], "{code}");
        }
        assert!(findings(&mut pair).is_empty());
        assert_eq!(pair.client.stats().suspected, 0);
    }
}

/// Ends without such a code, between those with one, neither count nor forgive.
#[test]
fn other_ends_between_neither_count_nor_forgive() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    for _ in 0..2 {
        end(&mut pair, TOO_LARGE);
        close(&mut pair);
        end(&mut pair, ReasonCode::ServerShuttingDown);
        assert!(pair.outcomes().is_empty());
    }
    end(&mut pair, TOO_LARGE);
    assert!(is_refused(&pair.outcomes(), op, TOO_LARGE));
}

/// MQTT-4.6.0-1: in their order. Innocent messages arrive, the guilty one is found, and then the window is as wide as before.
#[test]
fn what_is_in_flight_is_sent_one_at_a_time_until_the_reason_is_found() {
    let mut pair = Pair::connected(resuming(V5));
    for payload in ["a", "bad", "c", "d"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    end(&mut pair, TOO_LARGE);
    assert_eq!(pair.sent().len(), 4, "as the window allows");
    end(&mut pair, TOO_LARGE);
    pair.publish("t", "new", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP a"]);
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP bad"]);
    findings(&mut pair);
    end(&mut pair, TOO_LARGE);
    assert_eq!(findings(&mut pair), ["refused t 2: 95"]);
    assert_eq!(pair.sent(), ["PUBLISH q1 3 DUP c"]);
    pair.server_sends(puback(3));
    assert_eq!(pair.sent(), ["PUBLISH q1 4 DUP d", "PUBLISH q1 5 new"]);
}

/// Without a guilty message among them the window is as wide as before once all that was in flight has been acknowledged.
#[test]
fn the_window_opens_again_when_all_suspects_are_acknowledged() {
    let mut pair = Pair::connected(resuming(V5));
    for (payload, qos) in [("a", AtLeastOnce), ("b", ExactlyOnce)] {
        pair.publish("t", payload, qos);
    }
    end(&mut pair, TOO_LARGE);
    end(&mut pair, TOO_LARGE);
    for payload in ["c", "d"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP a"]);
    pair.server_sends(puback(1));
    assert_eq!(pair.sent(), ["PUBLISH q2 2 DUP b"]);
    pair.server_sends(pubrec(2));
    assert_eq!(
        pair.sent(),
        ["PUBREL 2", "PUBLISH q1 3 c", "PUBLISH q1 4 d"]
    );
    end(&mut pair, TOO_LARGE);
    assert_eq!(
        pair.sent(),
        ["PUBREL 2", "PUBLISH q1 3 DUP c", "PUBLISH q1 4 DUP d"],
        "the count has begun anew"
    );
}

#[test]
fn an_acknowledgement_between_begins_the_count_anew() {
    for acknowledgement in [
        puback(1),
        Packet::PubAck(ferromqtt_proto::packet::Ack::new(
            id(1),
            ReasonCode::QuotaExceeded,
        )),
    ] {
        let mut pair = Pair::connected(resuming(V5));
        pair.publish("t", "a", AtLeastOnce);
        pair.publish("t", "b", AtLeastOnce);
        end(&mut pair, TOO_LARGE);
        pair.server_sends(acknowledgement);
        pair.publish("t", "c", AtLeastOnce);
        pair.bytes();
        end(&mut pair, TOO_LARGE);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP b", "PUBLISH q1 3 DUP c"]);
        end(&mut pair, TOO_LARGE);
        assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP b"]);
    }
}

/// A PUBREL has been answered once: it is resent beside a message that is alone, and is never the reason.
#[test]
fn a_pubrel_in_flight_is_no_suspect() {
    let mut pair = Pair::connected(resuming(V5));
    let released = pair.publish("t", "x", ExactlyOnce);
    pair.server_sends(pubrec(1));
    pair.bytes();
    for _ in 0..4 {
        end(&mut pair, TOO_LARGE);
        assert_eq!(pair.sent(), ["PUBREL 1"]);
    }
    assert!(findings(&mut pair).is_empty());
    let op = pair.publish("t", "bad", AtLeastOnce);
    for _ in 0..3 {
        assert!(pair.outcomes().is_empty());
        end(&mut pair, TOO_LARGE);
    }
    assert!(is_refused(&pair.outcomes(), op, TOO_LARGE));
    pair.server_sends(pubcomp(1));
    assert!(matches!(
        pair.outcome(released),
        Outcome::Acknowledged { .. }
    ));
}

/// A QoS 0 message on the same connection may be the reason as well. The next connection begins with the message that can be
/// acknowledged, and QoS 0 waits for its answer: then it is clear.
#[test]
fn beside_a_qos_0_message_nothing_is_refused_until_the_next_end() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "1", AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    end(&mut pair, TOO_LARGE);
    pair.bytes();
    end(&mut pair, TOO_LARGE); // refused: one at a time still, until an answer comes
    pair.events();
    pair.publish("t", "zero", AtMostOnce);
    let op = pair.publish("t", "2", AtLeastOnce);
    let waits = pair.publish("t", "waits", AtMostOnce);
    assert_eq!(pair.sent(), ["PUBLISH q0 zero", "PUBLISH q1 2 2"]);
    end(&mut pair, TOO_LARGE);
    assert!(findings(&mut pair).is_empty());
    assert_eq!(pair.sent(), ["PUBLISH q1 2 DUP 2"], "alone");
    end(&mut pair, TOO_LARGE);
    let outcomes = pair.outcomes();
    assert_eq!(outcomes[1], (waits, Outcome::Sent));
    assert!(is_refused(&outcomes[..1], op, TOO_LARGE));
}

/// The quick way of QoS 0 keeps to it too.
#[test]
fn qos_0_is_not_encoded_at_once_beside_a_suspect() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "x", AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    end(&mut pair, TOO_LARGE);
    pair.bytes();
    let publish = PublishRef {
        dup: false,
        qos: AtMostOnce,
        retain: false,
        topic: b"t",
        packet_id: None,
        properties: None,
        payload_len: 1,
    };
    assert_eq!(pair.client.publish_at_once(publish, b"0"), Ok(false));
    pair.server_sends(puback(1));
    assert_eq!(pair.client.publish_at_once(publish, b"0"), Ok(true));
}

/// A QoS 0 message that makes the server end the connection is gone with it. What was in flight beside it arrives.
#[test]
fn a_qos_0_message_as_the_reason_harms_no_other() {
    let mut pair = Pair::connected(resuming(V5));
    let innocent = pair.publish("t", "x", AtLeastOnce);
    let mut ends = 0;
    loop {
        pair.publish("t", "bad", AtMostOnce); // as often as the program can
        if !(pair.sent().iter()).any(|sent| sent == "PUBLISH q0 bad") {
            break; // it is held
        }
        end(&mut pair, TOO_LARGE);
        ends += 1;
    }
    assert_eq!(ends, 2);
    pair.events();
    pair.server_sends(puback(1));
    assert!(matches!(pair.outcomes()[0], (op, Outcome::Acknowledged { .. }) if op == innocent));
    assert_eq!(pair.sent(), ["PUBLISH q0 bad"]);
    end(&mut pair, TOO_LARGE);
    assert_eq!(pair.client.stats().refused_by_disconnect, 0);
}

/// 0x95 may mean a SUBSCRIBE too: a message is not taken for the reason while one is unanswered, and not sent beside it.
#[test]
fn beside_an_unanswered_subscribe_nothing_is_refused() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    end(&mut pair, TOO_LARGE);
    pair.subscribe(&["a"]);
    pair.bytes();
    end(&mut pair, TOO_LARGE);
    assert!(pair.outcomes().is_empty());
    assert_eq!(pair.sent(), ["SUBSCRIBE 3 a"]);
    pair.server_sends(suback(3, &[ReasonCode::GrantedQos1]));
    assert_eq!(pair.sent(), ["PUBLISH q1 1 DUP x"]);
    pair.events();
    end(&mut pair, TOO_LARGE);
    assert!(is_refused(&pair.outcomes(), op, TOO_LARGE));
}

/// The server cannot mean what it has not been sent.
#[test]
fn a_message_that_was_not_handed_over_is_not_refused() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "x", AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    pair.server_sends(disconnect(TOO_LARGE));
    for _ in 0..4 {
        pair.wait_for_transport();
        pair.packets(); // CONNECT
        pair.writable = false;
        pair.server_sends(accepted(true, Properties::default()));
        pair.server_sends(disconnect(TOO_LARGE));
        pair.writable = true;
        pair.pump();
    }
    assert!(pair.outcomes().is_empty());
    assert_eq!(pair.client.stats().outgoing, 1);
}

/// A server may read no further than the head of a message that is too large.
#[test]
fn a_message_of_which_only_the_beginning_was_handed_over_is_refused() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", &"x".repeat(10_000), AtLeastOnce);
    end(&mut pair, TOO_LARGE);
    pair.server_sends(disconnect(TOO_LARGE));
    pair.wait_for_transport();
    pair.packets(); // CONNECT
    pair.writable = false;
    pair.server_sends(accepted(true, Properties::default()));
    let head = pair.client.poll_transmit(pair.now).unwrap();
    assert!(head.len() < 20);
    pair.events();
    pair.server_sends(disconnect(TOO_LARGE));
    assert!(is_refused(&pair.outcomes(), op, TOO_LARGE));
}

/// It leaves the session all the same, and the event tells.
#[test]
fn a_message_that_nobody_waits_for_is_refused_too() {
    let mut pair = Pair::connected(resuming(V5));
    let op = pair.publish("t", "x", AtLeastOnce);
    pair.client.abandon(op).unwrap();
    for _ in 0..3 {
        end(&mut pair, TOO_LARGE);
    }
    let findings = findings(&mut pair);
    assert_eq!(
        findings,
        ["suspected t of 1 after 2: 95", "refused t 1: 95"]
    );
    pair.bytes();
    close(&mut pair);
    assert!(pair.bytes().is_empty());
}

/// A driver that does not reconnect: the application asks for each connection, and the session lasts.
#[test]
fn the_count_outlives_connect() {
    let mut options = resuming(V5);
    options.reconnect = None;
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", AtLeastOnce);
    for _ in 0..3 {
        pair.bytes();
        pair.server_sends(disconnect(TOO_LARGE));
        assert!(pair.client.is_idle());
        pair.connect();
        pair.accept(true, Properties::default());
    }
    assert_eq!(pair.client.stats().refused_by_disconnect, 1);
    assert!(pair.bytes().is_empty());
    let op = pair.publish("t", "y", AtLeastOnce);
    pair.events();
    pair.server_sends(disconnect(TOO_LARGE));
    assert!(
        is_refused(&pair.outcomes(), op, TOO_LARGE),
        "not as disconnected"
    );
}

/// MQTT-2.2.1-3, MQTT-4.3.3-10: the server may have taken the message, and would take a new one with its identifier for it.
#[test]
fn its_packet_identifier_stays_unused_until_the_session_ends() {
    let mut options = resuming(V5);
    options.outgoing = OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    pair.publish("t", "x", ExactlyOnce);
    for _ in 0..3 {
        end(&mut pair, TOO_LARGE);
    }
    pair.bytes();
    for expected in (2..=u16::MAX).chain([2]) {
        pair.publish("t", "y", AtLeastOnce);
        assert_eq!(pair.sent(), [format!("PUBLISH q1 {expected} y")]);
        pair.server_sends(puback(expected));
    }
    pair.server_sends(pubrec(1)); // late: nothing is known of it
    assert_eq!(pair.sent(), ["PUBREL 1 0x92"]);
    pair.reconnect(false);
    for expected in (3..=u16::MAX).chain([1]) {
        pair.publish("t", "y", AtLeastOnce);
        assert_eq!(pair.sent(), [format!("PUBLISH q1 {expected} y")]);
        pair.server_sends(puback(expected));
    }
}

/// MQTT-4.3.3-10: the same where the limits of a later connection forbid to send a QoS 2 message again.
#[test]
fn the_identifier_of_a_qos_2_message_that_is_given_up_stays_unused_too() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "too long", ExactlyOnce);
    pair.reconnect_with(true, maximum_packet_size(12));
    pair.bytes();
    for expected in (2..=u16::MAX).chain([2]) {
        pair.publish("t", "y", AtLeastOnce);
        assert_eq!(pair.sent(), [format!("PUBLISH q1 {expected} y")]);
        pair.server_sends(puback(expected));
    }
}

/// With a store neither the message comes back nor its identifier.
#[test]
fn a_store_learns_of_it() {
    let (mut pair, mut store) = store::connected(journaled(V5));
    pair.publish("t", "x", ExactlyOnce);
    store.write(&mut pair);
    for _ in 0..2 {
        pair.server_sends(disconnect(TOO_LARGE));
        pair.wait_for_transport();
        assert_eq!(store.write(&mut pair), [SessionChange::Connecting]);
        pair.accept(true, Properties::default());
        assert_eq!(store.write(&mut pair), [SessionChange::Resumed]);
    }
    pair.server_sends(disconnect(TOO_LARGE));
    let changes = store.write(&mut pair);
    let [
        SessionChange::Retired { packet_id },
        SessionChange::Finished { .. },
    ] = changes[..]
    else {
        panic!("{changes:?}");
    };
    assert_eq!(packet_id, id(1));
    let count = store.entries.len();
    let mut pair = store::resumed(resuming(V5), store.session(count - 1));
    assert_eq!(
        pair.sent(),
        ["PUBLISH q2 1 DUP x"],
        "the process ended between the two"
    );
    let mut pair = store::resumed(resuming(V5), store.session(count));
    assert!(pair.bytes().is_empty());
    for expected in (2..=u16::MAX).chain([2]) {
        pair.publish("t", "y", AtLeastOnce);
        assert_eq!(pair.sent(), [format!("PUBLISH q1 {expected} y")]);
        pair.server_sends(puback(expected));
    }
}

/// A server that keeps no session: what is published again in each connection is the same message.
#[test]
fn a_message_sent_anew_into_one_session_after_another_is_found_too() {
    for qos in [AtLeastOnce, ExactlyOnce] {
        let mut options = resuming(V5);
        options.on_session_lost = OnSessionLost::Resend;
        let mut pair = Pair::connected(options);
        let op = pair.publish("t", "bad", qos);
        pair.publish("t", "good", qos);
        for _ in 0..2 {
            assert_eq!(pair.sent().len(), 2);
            pair.server_sends(disconnect(TOO_LARGE));
            pair.wait_for_transport();
            pair.accept(false, Properties::default());
        }
        assert_eq!(pair.sent().len(), 1);
        pair.events();
        pair.server_sends(disconnect(TOO_LARGE));
        assert!(is_refused(&pair.outcomes(), op, TOO_LARGE));
    }
}

/// When nothing of it is sent again, a lost session leaves nothing to suspect.
#[test]
fn a_lost_session_forgets_the_suspicion() {
    let mut pair = Pair::connected(resuming(V5));
    pair.publish("t", "x", ExactlyOnce);
    end(&mut pair, TOO_LARGE);
    pair.server_sends(disconnect(TOO_LARGE));
    pair.wait_for_transport();
    pair.accept(false, Properties::default());
    for payload in ["a", "b"] {
        pair.publish("t", payload, AtLeastOnce);
    }
    assert_eq!(pair.sent().len(), 2);
}
