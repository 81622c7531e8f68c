//! Subscribing again, and requests that waited, within the limits of a server that is known only now.

use ferromqtt_proto::packet::{self, Packet};
use ferromqtt_proto::{
    Event, InvalidSubscribe, OpId, Outcome, Properties, ProtocolVersion, QueueId, QueueOptions,
    ReasonCode, Subscribe,
};

use crate::support::*;

fn open(pair: &mut Pair) -> QueueId {
    pair.client.open_queue(QueueOptions::default())
}

/// A client that is subscribed to `filters`, one SUBSCRIBE for each.
fn subscribed(version: ProtocolVersion, filters: &[&str], own_queue: bool) -> (Pair, QueueId) {
    let mut pair = Pair::connected(resuming(version));
    let queue = if own_queue {
        open(&mut pair)
    } else {
        QueueId::DEFAULT
    };
    for (index, filter) in filters.iter().enumerate() {
        pair.subscribe_to(&[filter], queue);
        pair.server_sends(suback(index as u16 + 1, &[ReasonCode::GrantedQos1]));
    }
    pair.bytes();
    pair.events();
    (pair, queue)
}

fn subscribe_with_identifier(pair: &mut Pair, names: &[&str], identifier: u32) -> OpId {
    let subscribe = Subscribe {
        filters: (names.iter())
            .map(|name| (filter(name), at(AtLeastOnce)))
            .collect(),
        properties: Properties {
            subscription_identifiers: [identifier].into(),
            ..Properties::default()
        },
        queue: QueueId::DEFAULT,
    };
    let op = pair.client.subscribe(pair.now, subscribe).unwrap();
    pair.pump();
    op
}

/// What was told as not restored since the last look.
fn not_resubscribed(pair: &mut Pair) -> Vec<(QueueId, String, ReasonCode)> {
    (pair.events().into_iter())
        .filter_map(|event| match event {
            Event::NotResubscribed {
                queue,
                filter,
                refusal,
            } => Some((queue, filter.as_str().to_owned(), refusal.reason())),
            _ => None,
        })
        .collect()
}

fn without_wildcards() -> Properties {
    Properties {
        wildcard_subscription_available: Some(false),
        ..Properties::default()
    }
}

fn without_shared() -> Properties {
    Properties {
        shared_subscription_available: Some(false),
        ..Properties::default()
    }
}

fn without_identifiers() -> Properties {
    Properties {
        subscription_identifier_available: Some(false),
        ..Properties::default()
    }
}

const LONG: [&str; 3] = [
    "0/2345678901234567890",
    "1/2345678901234567890",
    "2/2345678901234567890",
];

/// A packet of `count` filters as long as those of [`LONG`], without properties.
const fn size(count: usize) -> usize {
    2 + 2 + 1 + count * (2 + 21 + 1)
}

/// MQTT-3.2.2-15: what does not fit into one packet goes into several, and no more than necessary. Pitfall 15.
#[test]
fn restoring_keeps_to_maximum_packet_size() {
    for (limit, packets) in [
        (size(3), vec![3]),
        (size(3) - 1, vec![2, 1]),
        (size(2), vec![2, 1]),
        (size(2) - 1, vec![1, 1, 1]),
        (size(1), vec![1, 1, 1]),
    ] {
        let (mut pair, _) = subscribed(V5, &LONG, false);
        pair.reconnect_with(false, maximum_packet_size(limit as u32));
        let restored = pair.subscribes();
        let counts: Vec<_> = restored.iter().map(|it| it.filters.len()).collect();
        assert_eq!(counts, packets, "limit {limit}");
        assert_eq!(not_resubscribed(&mut pair), []);
    }
}

/// MQTT-3.2.2-15: the identifier that an own queue's subscription gets counts too.
#[test]
fn assigned_identifiers_keep_to_maximum_packet_size() {
    for limit in size(1) + 5..size(3) + 6 {
        let (mut pair, queue) = subscribed(V5, &LONG, true);
        pair.reconnect_with(false, maximum_packet_size(limit as u32));
        let bytes = pair.bytes();
        let (mut start, mut filters) = (0, 0);
        while start < bytes.len() {
            let length = usize::from(bytes[start + 1]) + 2; // Remaining Length of one byte
            assert!(bytes[start + 1] < 0x80);
            assert!(length <= limit, "{length} bytes, limit {limit}");
            let mut at = start;
            let Packet::Subscribe(it) = packet::decode(&bytes, &mut at, V5).unwrap() else {
                panic!("not SUBSCRIBE");
            };
            filters += it.filters.len();
            start += length;
        }
        assert_eq!(filters, 3, "limit {limit}");
        assert_eq!(not_resubscribed(&mut pair), []);
        assert_eq!(pair.client.queue_len(queue), 0);
    }
}

/// MQTT-3.2.2-15: nothing is sent for what is too large by itself, and its queue learns that.
#[test]
fn a_filter_that_does_not_fit_by_itself_is_reported() {
    for own_queue in [false, true] {
        let (mut pair, queue) = subscribed(V5, &[LONG[0], "short", LONG[1]], own_queue);
        pair.reconnect_with(false, maximum_packet_size(size(1) as u32 - 1));
        assert_eq!(pair.sent(), ["SUBSCRIBE 4 short"]);
        let too_large = |name: &str| (queue, name.to_owned(), ReasonCode::PacketTooLarge);
        assert_eq!(
            not_resubscribed(&mut pair),
            [too_large(LONG[0]), too_large(LONG[1])]
        );
    }
}

/// An identifier that nobody asked for must not forbid a subscription that has room without it (MQTT-3.2.2-15).
#[test]
fn an_assigned_identifier_is_left_out_where_it_has_no_room() {
    let (mut pair, queue) = subscribed(V5, &[LONG[0]], true);
    pair.reconnect_with(false, maximum_packet_size(size(1) as u32));
    assert_eq!(not_resubscribed(&mut pair), []);
    assert_eq!(pair.sent(), [format!("SUBSCRIBE 2 {}", LONG[0])]);
    let subscribe = Subscribe {
        filters: vec![(filter(LONG[1]), at(AtLeastOnce))],
        properties: Properties::default(),
        queue,
    };
    assert!(pair.client.subscribe(pair.now, subscribe).is_ok());
}

/// Sections 3.2.2.3.11 to 3.2.2.3.13: each limit concerns what it names, is told with the reason that the server would give,
/// and the rest is restored.
#[test]
fn what_the_server_has_not_is_reported_and_not_sent() {
    for (properties, gone, reason) in [
        (
            without_wildcards(),
            vec!["a/+", "b/#", "$share/g/w/#"],
            ReasonCode::WildcardSubscriptionsNotSupported,
        ),
        (
            without_shared(),
            vec!["$share/g/s", "$share/g/w/#"],
            ReasonCode::SharedSubscriptionsNotSupported,
        ),
    ] {
        for own_queue in [false, true] {
            let filters = ["a/+", "plain", "b/#", "$share/g/s", "$share/g/w/#"];
            let (mut pair, queue) = subscribed(V5, &filters, own_queue);
            pair.reconnect_with(false, properties.clone());
            let expected: Vec<_> = (gone.iter())
                .map(|name| (queue, (*name).to_owned(), reason))
                .collect();
            assert_eq!(not_resubscribed(&mut pair), expected);
            let kept: Vec<_> = filters
                .into_iter()
                .filter(|it| !gone.contains(it))
                .collect();
            let sent: Vec<_> = (pair.subscribes().iter())
                .flat_map(|it| it.filters.iter())
                .map(|(name, _)| name.to_owned())
                .collect();
            assert_eq!(sent, kept);
        }
    }
}

/// Section 3.2.2.3.12: the application told its messages apart by the identifier it gave, so the filter is not subscribed
/// without one.
#[test]
fn a_callers_identifier_that_the_server_has_not_is_reported() {
    let (mut pair, _) = subscribed(V5, &["a"], false);
    subscribe_with_identifier(&mut pair, &["b"], 7);
    pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
    pair.reconnect_with(false, without_identifiers());
    assert_eq!(
        not_resubscribed(&mut pair),
        [(
            QueueId::DEFAULT,
            "b".to_owned(),
            ReasonCode::SubscriptionIdentifiersNotSupported
        )]
    );
    assert_eq!(pair.sent().last().unwrap(), "SUBSCRIBE 3 a");
}

/// Told once: what is gone is not tried with the server after that.
#[test]
fn what_was_not_restored_is_forgotten() {
    let (mut pair, _) = subscribed(V5, &["a/#", "b"], false);
    pair.reconnect_with(false, without_wildcards());
    assert_eq!(pair.sent(), ["SUBSCRIBE 3 b"]);
    assert_eq!(not_resubscribed(&mut pair).len(), 1);
    pair.server_sends(suback(3, &[ReasonCode::GrantedQos1]));
    pair.reconnect(false);
    assert_eq!(pair.sent(), ["SUBSCRIBE 4 b"]);
    assert_eq!(not_resubscribed(&mut pair), []);
}

/// The limits of a server concern a session that it resumes in nothing: its subscriptions are the server's.
#[test]
fn a_resumed_session_is_not_checked() {
    let (mut pair, _) = subscribed(V5, &["a/#"], false);
    pair.reconnect_with(true, without_wildcards());
    assert!(pair.bytes().is_empty());
    assert_eq!(not_resubscribed(&mut pair), []);
}

/// Section 3.9.3; 3.1.1: MQTT-3.9.3-2: each filter that SUBACK refuses is told, for the queue that it fed, once.
#[test]
fn what_suback_refuses_is_reported() {
    for version in VERSIONS {
        for own_queue in [false, true] {
            let (mut pair, queue) = subscribed(version, &["a", "b", "c"], own_queue);
            pair.reconnect(false);
            assert_eq!(pair.sent(), ["SUBSCRIBE 4 a b c"]);
            let reason = if version == V5 {
                ReasonCode::NotAuthorized
            } else {
                ReasonCode::UnspecifiedError
            };
            pair.server_sends(suback(4, &[reason, ReasonCode::Success, reason]));
            assert_eq!(
                not_resubscribed(&mut pair),
                [
                    (queue, "a".to_owned(), reason),
                    (queue, "c".to_owned(), reason)
                ]
            );
            pair.reconnect(false);
            assert_eq!(pair.sent(), ["SUBSCRIBE 5 b"]);
        }
    }
}

/// A refusal that answers the application's own SUBSCRIBE is its outcome, and no event besides.
#[test]
fn a_refused_subscribe_of_the_application_is_no_event() {
    for version in VERSIONS {
        let (mut pair, _) = subscribed(version, &["a"], false);
        pair.subscribe(&["b"]);
        pair.server_sends(suback(2, &[ReasonCode::UnspecifiedError]));
        assert_eq!(not_resubscribed(&mut pair), []);
        pair.reconnect(false);
        assert_eq!(pair.sent().last().unwrap(), "SUBSCRIBE 3 a");
    }
}

/// Some servers bound the filters in a packet.
#[test]
fn a_hundred_filters_go_into_one_packet() {
    for version in VERSIONS {
        for own_queue in [false, true] {
            let names: Vec<_> = (0..250).map(|number| format!("f/{number}")).collect();
            let filters: Vec<_> = names.iter().map(String::as_str).collect();
            let (mut pair, _) = subscribed(version, &filters, own_queue);
            pair.reconnect(false);
            let restored = pair.subscribes();
            let counts: Vec<_> = restored.iter().map(|it| it.filters.len()).collect();
            assert_eq!(counts, [100, 100, 50]);
            let order: Vec<_> = (restored.iter())
                .flat_map(|it| it.filters.iter().map(|(name, _)| name.to_owned()))
                .collect();
            assert_eq!(order, names, "all of them, in their order");
        }
    }
}

/// Sections 3.2.2.3.11 to 3.2.2.3.13: a SUBSCRIBE that waited ends when the server cannot do it. Nothing is sent.
#[test]
fn a_subscribe_that_waited_ends_when_the_server_cannot_do_it() {
    for (properties, name, identifier, reason) in [
        (
            without_wildcards(),
            "a/#",
            None,
            ReasonCode::WildcardSubscriptionsNotSupported,
        ),
        (
            without_shared(),
            "$share/g/a",
            None,
            ReasonCode::SharedSubscriptionsNotSupported,
        ),
        (
            without_identifiers(),
            "a",
            Some(7),
            ReasonCode::SubscriptionIdentifiersNotSupported,
        ),
    ] {
        for session_present in [false, true] {
            let mut pair = Pair::connected(resuming(V5));
            pair.cut();
            let op = match identifier {
                Some(identifier) => subscribe_with_identifier(&mut pair, &[name], identifier),
                None => pair.subscribe(&[name]),
            };
            pair.wait_for_transport();
            pair.events();
            pair.accept(session_present, properties.clone());
            assert!(pair.bytes().is_empty(), "{name}");
            let expected = Outcome::RequestNotPossible(InvalidSubscribe::NotSupported(reason));
            assert_eq!(pair.outcome(op), expected);
            pair.reconnect(false);
            assert!(pair.bytes().is_empty(), "nothing of it is restored: {name}");
        }
    }
}

/// MQTT-3.2.2-15. Pitfall 15.
#[test]
fn requests_that_waited_keep_to_maximum_packet_size() {
    let mut pair = Pair::connected(resuming(V5));
    pair.cut();
    let subscribe = pair.subscribe(&LONG[..1]);
    let longer = format!("{}x", LONG[0]);
    let unsubscribe = pair.unsubscribe(&["b", &longer, "c"]);
    let fits = pair.subscribe(&["a"]);
    pair.wait_for_transport();
    pair.events();
    let limit = size(1) - 1;
    pair.accept(false, maximum_packet_size(limit as u32));
    assert_eq!(pair.sent(), ["SUBSCRIBE 1 a"]);
    let too_large =
        |bytes| Outcome::RequestNotPossible(InvalidSubscribe::TooLarge { bytes, limit });
    assert_eq!(
        pair.outcomes(),
        [
            (subscribe, too_large(size(1))),
            (unsubscribe, too_large(size(1))) // without options
        ]
    );
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
    assert!(matches!(pair.outcome(fits), Outcome::Subscribed { .. }));
}

/// The request that waited would have made the held subscription anew. When it cannot be sent, that must not be lost in
/// silence: the server has lost it with the session. Pitfall 6.
#[test]
fn a_request_that_is_not_possible_does_not_take_a_subscription_with_it() {
    for (properties, names, identifier) in [
        (without_identifiers(), vec!["a"], Some(7)),
        (without_wildcards(), vec!["a", "b/#"], None),
    ] {
        let (mut pair, _) = subscribed(V5, &["a"], false);
        pair.cut();
        let op = match identifier {
            Some(identifier) => subscribe_with_identifier(&mut pair, &names, identifier),
            None => pair.subscribe(&names),
        };
        pair.wait_for_transport();
        pair.events();
        pair.accept(false, properties);
        assert!(matches!(
            pair.outcome(op),
            Outcome::RequestNotPossible(InvalidSubscribe::NotSupported(_))
        ));
        assert_eq!(pair.sent(), ["SUBSCRIBE 2 a"], "{names:?}");
    }
}

/// What a queue that is closed waited for is not sent any more, and nothing of it comes back.
#[test]
fn closing_a_queue_drops_its_subscribe_that_waits() {
    for version in VERSIONS {
        for session_present in [false, true] {
            let mut pair = Pair::connected(resuming(version));
            let (closed, kept) = (open(&mut pair), open(&mut pair));
            pair.cut();
            let op = pair.subscribe_to(&["a", "b"], closed);
            pair.subscribe_to(&["a"], kept);
            pair.events();
            assert!(pair.client.close_queue(closed).is_empty());
            pair.pump();
            assert_eq!(pair.outcome(op), Outcome::Dropped);
            pair.wait_for_transport();
            pair.accept(session_present, Properties::default());
            assert_eq!(pair.sent(), ["SUBSCRIBE 1 a"]);
            assert_eq!(pair.outcomes(), []);
        }
    }
}

/// Restoring that was interrupted goes on without a queue that has been closed meanwhile; nobody gets an outcome.
#[test]
fn closing_a_queue_ends_its_restoring() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let (closed, kept) = (open(&mut pair), open(&mut pair));
        pair.subscribe_to(&["a"], closed);
        pair.subscribe_to(&["b"], kept);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        pair.bytes();
        pair.reconnect(false);
        assert_eq!(pair.sent(), ["SUBSCRIBE 3 a", "SUBSCRIBE 4 b"]);
        pair.events();
        pair.cut();
        assert_eq!(pair.client.close_queue(closed), [filter("a")]);
        pair.wait_for_transport();
        pair.accept(true, Properties::default());
        assert_eq!(pair.sent(), ["SUBSCRIBE 5 b"]);
        assert_eq!(pair.outcomes(), []);
    }
}

/// Its messages would go nowhere.
#[test]
fn subscribing_for_a_closed_queue_is_refused() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let closed = open(&mut pair);
        pair.client.close_queue(closed);
        for _ in ["connected", "waiting to reconnect"] {
            let subscribe = Subscribe {
                filters: vec![(filter("a"), at(AtLeastOnce))],
                properties: Properties::default(),
                queue: closed,
            };
            let refused = pair.client.subscribe(pair.now, subscribe);
            assert_eq!(refused, Err(InvalidSubscribe::NoQueue));
            pair.pump();
            assert!(pair.bytes().is_empty());
            if pair.link_is_up() {
                pair.cut();
            }
        }
    }
}
