//! What either side may put into DISCONNECT, acknowledgements within Maximum Packet Size, and a refused UNSUBSCRIBE.

use ferromqtt_proto::packet::{Disconnect, Packet};
use ferromqtt_proto::{
    ConnectionError, DisconnectError, Event, FilterRefusal, Options, Outcome, Properties,
    QueueOptions, ReasonCode, TopicFilter,
};

use crate::support::*;

fn expiring(seconds: u32) -> Disconnect {
    let mut disconnect = Disconnect::normal();
    disconnect.properties.session_expiry_interval = Some(seconds);
    disconnect
}

fn keeping(seconds: Option<u32>) -> Options {
    let mut options = options(V5);
    options.properties.session_expiry_interval = seconds;
    options
}

/// MQTT-3.14.2-1, MQTT-3.14.2-2: a Protocol Error, answered with 0x82, and told as one.
#[test]
fn a_server_breaks_the_protocol_with_what_only_clients_send() {
    for bytes in [
        &b"\xe0\x01\x04"[..],
        b"\xe0\x07\x00\x05\x11\x00\x00\x00\x01",
        b"\xe0\x07\x8b\x05\x11\x00\x00\x00\x00",
    ] {
        let mut pair = Pair::connected(options(V5));
        pair.events();
        pair.server_sends_bytes(bytes);
        let ConnectionError::ProtocolViolation(error) = pair.cause() else {
            panic!("{bytes:?} was accepted");
        };
        assert_eq!(error.reason, ReasonCode::ProtocolError);
        assert_eq!(pair.bytes(), &b"\xe0\x01\x82"[..]);
    }
}

/// Section 3.14.2.2.2: a session that CONNECT gave no time may not get any at the end; one that has time may get less or more.
#[test]
fn session_expiry_interval_may_not_be_raised_from_zero() {
    let raised = Err(DisconnectError::SessionExpiryRaised);
    for (before, after, expected) in [
        (None, 1, raised),
        (Some(0), u32::MAX, raised),
        (None, 0, Ok(())),
        (Some(0), 0, Ok(())),
        (Some(1), 0, Ok(())),
        (Some(1), u32::MAX, Ok(())),
    ] {
        let mut pair = Pair::connected(keeping(before));
        let disconnect = expiring(after);
        assert_eq!(pair.client.check_disconnect(&disconnect), expected);
        pair.events();
        pair.client.disconnect(pair.now, disconnect.clone());
        pair.pump();
        let sent: Vec<_> = (expected.is_ok())
            .then(|| Packet::Disconnect(Box::new(disconnect)))
            .into_iter()
            .collect();
        assert_eq!(pair.packets(), sent, "as it is, or not at all");
        assert_eq!(pair.cause(), ConnectionError::Closed);
        assert!(pair.client.is_idle());
    }
}

/// MQTT-3.14.2-1: the codes of the table that stand there for a client, and no others.
#[test]
fn a_client_sends_its_own_reason_codes_alone() {
    let own = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ];
    for value in 0..=u8::MAX {
        let Some(reason) = ReasonCode::from_value(value) else {
            continue;
        };
        let mut pair = Pair::connected(options(V5));
        let disconnect = Disconnect::because(reason);
        let checked = pair.client.check_disconnect(&disconnect);
        pair.client.disconnect(pair.now, disconnect);
        pair.pump();
        if own.contains(&value) {
            assert_eq!(checked, Ok(()));
            assert_eq!(pair.sent(), [format!("DISCONNECT 0x{value:02X}")]);
        } else {
            assert_eq!(checked, Err(DisconnectError::Reason(reason)));
            assert!(pair.bytes().is_empty());
        }
    }
}

/// Section 3.14.2.2: Server Reference is the server's, and most properties have no place there.
#[test]
fn a_client_sends_its_own_properties_alone() {
    let reference = Properties {
        server_reference: Some(text("other")),
        ..Properties::default()
    };
    let foreign = Properties {
        topic_alias_maximum: Some(1),
        ..Properties::default()
    };
    for properties in [reference, foreign] {
        let mut pair = Pair::connected(options(V5));
        let disconnect = Disconnect {
            reason: ReasonCode::Success,
            properties,
        };
        let error = pair.client.check_disconnect(&disconnect).unwrap_err();
        assert!(matches!(error, DisconnectError::Property(_)));
        pair.client.disconnect(pair.now, disconnect);
        pair.pump();
        assert!(pair.bytes().is_empty());
    }
}

/// MQTT-3.14.2-3, MQTT-3.14.2-4: Reason String and User Properties are left out rather than the packet. Pitfall 15.
#[test]
fn disconnect_drops_its_diagnosis_to_fit() {
    let mut disconnect = expiring(5);
    disconnect.properties.reason_string = Some(text("done"));
    (disconnect.properties.user_properties).push((text("name"), text("value")));
    let mut whole = bytes::BytesMut::new();
    Packet::Disconnect(Box::new(disconnect.clone())).encode(V5, &mut whole);
    let short = &b"\xe0\x07\x00\x05\x11\x00\x00\x00\x05"[..];
    let limit = |bytes: usize| maximum_packet_size(u32::try_from(bytes).unwrap());
    for (limit, expected) in [
        (limit(whole.len()), &whole[..]),
        (limit(whole.len() - 1), short),
        (limit(short.len()), short),
        (limit(short.len() - 1), b""),
    ] {
        let mut pair = Pair::connected_with(keeping(Some(60)), limit);
        pair.client.disconnect(pair.now, disconnect.clone());
        pair.pump();
        assert_eq!(pair.bytes(), expected);
    }
}

/// MQTT-3.2.2-15, MQTT-3.6.2-2, MQTT-3.7.2-2: 0x92 where it fits, otherwise the form of four bytes. Pitfall 15.
#[test]
fn acknowledgements_obey_maximum_packet_size() {
    for (limit, comp, rel) in [
        (
            5,
            &b"\x70\x03\x00\x07\x92"[..],
            &b"\x62\x03\x00\x07\x92"[..],
        ),
        (4, b"\x70\x02\x00\x07", b"\x62\x02\x00\x07"),
    ] {
        let mut pair = Pair::connected_with(options(V5), maximum_packet_size(limit));
        pair.server_sends(pubrel(7));
        assert_eq!(pair.bytes(), comp);
        pair.server_sends(pubrec(7));
        assert_eq!(pair.bytes(), rel);
    }
}

/// Section 3.11.3: what the server refuses to unsubscribe it goes on to send, to the queue it was for.
#[test]
fn a_refused_unsubscribe_leaves_the_filter_registered() {
    let mut pair = Pair::connected(resuming(V5));
    let queue = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["a", "b"], queue);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1; 2]));
    pair.unsubscribe(&["a", "b"]);
    pair.server_sends(unsuback(
        2,
        &[ReasonCode::NotAuthorized, ReasonCode::Success],
    ));
    pair.server_sends(Packet::Publish(message("a", "still here", AtMostOnce, 0)));
    pair.server_sends(Packet::Publish(message("b", "late", AtMostOnce, 0)));
    assert_eq!(pair.payloads_of(queue), ["still here"]);
    assert_eq!(pair.payloads(), ["late"]);
    pair.bytes();
    pair.reconnect(false);
    assert_eq!(pair.sent(), ["SUBSCRIBE 3 a"], "and it is restored");
}

/// Section 3.11.3: reported right before the outcome, and also when no caller waits for that.
#[test]
fn a_refusal_to_unsubscribe_is_reported_also_when_nobody_waits_for_the_outcome() {
    for abandoned in [false, true] {
        let mut pair = Pair::connected(resuming(V5));
        let op = pair.unsubscribe(&["a", "b"]);
        pair.sent();
        if abandoned {
            pair.client.abandon(op);
        }
        pair.events();
        let reasons = [ReasonCode::NoSubscriptionExisted, ReasonCode::NotAuthorized];
        pair.server_sends(unsuback(1, &reasons));
        let refused = Event::NotUnsubscribed {
            filter: TopicFilter::new("b").unwrap(),
            refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
            op: (!abandoned).then_some(op),
        };
        let outcome = Outcome::Unsubscribed {
            reasons: reasons.to_vec(),
            properties: None,
        };
        let completed = (!abandoned).then_some(Event::Completed { op, outcome });
        let expected: Vec<_> = [refused].into_iter().chain(completed).collect();
        assert_eq!(pair.events(), expected);
    }
}

/// Nothing is put back into a queue that is closed: messages would be lost there.
#[test]
fn a_refused_unsubscribe_does_not_revive_a_closed_queue() {
    let mut pair = Pair::connected(resuming(V5));
    let queue = pair.client.open_queue(QueueOptions::default());
    pair.subscribe_to(&["a"], queue);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
    pair.unsubscribe(&["a"]);
    pair.client.close_queue(queue);
    pair.server_sends(unsuback(2, &[ReasonCode::NotAuthorized]));
    pair.server_sends(Packet::Publish(message("a", "x", AtMostOnce, 0)));
    assert_eq!(pair.payloads(), ["x"], "no queue of its own wants it");
}
