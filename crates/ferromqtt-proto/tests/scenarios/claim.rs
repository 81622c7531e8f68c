//! Messages of a resumed session are held, unacknowledged, until somebody claims them.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    Event, Overflow, Properties, Publish, QueueId, QueueOptions, ReasonCode, Session, TopicName,
};

use crate::support::claiming::*;
use crate::support::*;

const DEFAULT: QueueId = QueueId::DEFAULT;
const CLAIM_WITHIN: Duration = Duration::from_secs(30);

/// MQTT-4.6.0-2: the stream of a program that subscribes 20 ms after it has connected gets all that the server had stored,
/// and nothing has been acknowledged before the application has.
#[test]
fn a_subscription_claims_what_the_server_had_stored() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("jobs", 1..=100);
        pair.advance(Duration::from_millis(20));
        assert!(
            pair.bytes().is_empty(),
            "acknowledged before it was claimed"
        );
        assert_eq!(pair.client.stats().awaiting_claim, 100);
        let queue = pair.claim(&["jobs"], by_application());
        assert!(pair.events().contains(&Event::MessageReady(queue)));
        assert!(pair.answers().is_empty());
        pair.stored("jobs", 101..=103);
        let deliveries = pair.take_deliveries(queue);
        assert_eq!(deliveries.len(), 103);
        for delivery in deliveries {
            pair.acknowledge(delivery);
        }
        let expected: Vec<_> = (1..=103).map(|id| format!("PUBACK {id}")).collect();
        assert_eq!(pair.sent(), expected);
        assert_eq!(pair.client.queue_len(DEFAULT), 0);
        assert_eq!(pair.client.stats().awaiting_claim, 0);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// MQTT-4.3.2-4, MQTT-4.3.3-8: one that acknowledges on receipt does so when it gets them, in the order of all.
#[test]
fn what_is_claimed_is_acknowledged_by_the_rules_of_its_queue() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.receive("a", "1", AtLeastOnce, 1);
        pair.receive("b", "2", ExactlyOnce, 2);
        pair.receive("a", "3", ExactlyOnce, 3);
        pair.receive("b", "4", AtLeastOnce, 4);
        let a = pair.claim(&["a"], QueueOptions::default());
        assert_eq!(pair.answers(), ["PUBACK 1"]);
        assert_eq!(pair.payloads_of(a), ["1", "3"]);
        let b = pair.claim(&["b"], limited(1, Overflow::Wait));
        assert_eq!(pair.answers(), ["PUBREC 2", "PUBREC 3"]);
        assert_eq!(pair.take(b).payload, "2");
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        assert_eq!(pair.payloads_of(b), ["4"]);
    }
}

/// The bounds of the queue that claims count, and what it loses is acknowledged (MQTT-4.5.0-2).
#[test]
fn what_a_queue_claims_beyond_its_bounds_is_lost_as_its_policy_says() {
    for (overflow, kept) in [
        (Overflow::DropOldest, ["2", "3"]),
        (Overflow::DropNewest, ["1", "2"]),
        (Overflow::Fail, ["1", "2"]),
    ] {
        let mut pair = resumed(resuming(V5));
        pair.stored("t", 1..=3);
        let queue = pair.claim(&["t"], limited(2, overflow));
        assert_eq!(pair.lagged(), [queue], "{overflow:?}");
        assert_eq!(pair.answers().len(), 3, "{overflow:?}");
        assert_eq!(pair.payloads_of(queue), kept, "{overflow:?}");
        assert_eq!(pair.client.take_lost(queue), 1, "{overflow:?}");
    }
}

#[test]
fn of_several_matching_queues_the_first_that_subscribes_gets_a_message() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("t/1", [1]);
        pair.stored("t/2", [2]);
        let narrow = pair.claim(&["t/1"], QueueOptions::default());
        let wide = pair.claim(&["t/#"], QueueOptions::default());
        let late = pair.claim(&["t/2"], QueueOptions::default());
        assert_eq!(pair.payloads_of(narrow), ["1"]);
        assert_eq!(pair.payloads_of(wide), ["2"]);
        assert!(pair.payloads_of(late).is_empty());
    }
}

/// A SUBSCRIBE with several filters, one of them shared: a message that several match is claimed once.
#[test]
fn a_message_is_claimed_once_by_all_filters_of_a_subscribe() {
    let mut pair = resumed(resuming(V5));
    pair.stored("t", [1, 2]);
    let queue = pair.claim(&["$share/group/t", "#"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1", "2"]);
}

/// The default queue is a queue like any other when it subscribes.
#[test]
fn a_subscription_of_the_default_queue_claims_what_it_matches_alone() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("a", [1]);
        pair.stored("b", [2]);
        pair.subscribe(&["a"]);
        assert_eq!(pair.payloads(), ["1"]);
        pair.stored("a", [3]);
        assert_eq!(pair.payloads(), ["3"]);
        assert_eq!(pair.answers(), ["PUBACK 1"]);
        assert_eq!(pair.client.stats().awaiting_claim, 1);
    }
}

/// It gets everything that is held, and from then on nothing is held.
#[test]
fn the_default_queue_claims_everything() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("a", [1]);
        pair.receive("b", "2", ExactlyOnce, 2);
        pair.client.claim_default();
        pair.pump();
        assert!(pair.events().contains(&Event::MessageReady(DEFAULT)));
        pair.stored("c", [3]);
        assert_eq!(pair.sent(), ["PUBACK 1", "PUBREC 2", "PUBACK 3"]);
        assert_eq!(pair.payloads(), ["1", "2", "3"]);
        pair.reconnect(true);
        pair.stored("d", [4]);
        assert_eq!(pair.sent(), ["PUBACK 4"]);
        pair.advance(2 * CLAIM_WITHIN);
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// A default queue whose messages the application acknowledges gets them unacknowledged.
#[test]
fn the_default_queue_claims_by_its_own_rules() {
    let mut pair = resumed(with_default(V5, by_application()));
    pair.stored("t", 1..=3);
    pair.client.claim_default();
    pair.pump();
    assert!(pair.bytes().is_empty());
    for delivery in pair.take_deliveries(DEFAULT) {
        pair.acknowledge(delivery);
    }
    assert_eq!(pair.sent(), ["PUBACK 1", "PUBACK 2", "PUBACK 3"]);
    let mut pair = resumed(with_default(V5, limited(1, Overflow::Wait)));
    pair.stored("t", 1..=3);
    assert_eq!(pair.client.stats().awaiting_claim, 3, "nothing is lost");
    pair.client.claim_default();
    pair.pump();
    assert_eq!(pair.sent(), ["PUBACK 1"]);
    assert_eq!(pair.take(DEFAULT).payload, "1");
    assert_eq!(pair.sent(), ["PUBACK 2"]);
}

/// MQTT-3.2.2-2: Session Present 0, there is nothing from before.
#[test]
fn in_a_new_session_nothing_is_held() {
    for version in VERSIONS {
        let mut pair = Pair::unclaimed(resuming(version), Session::default());
        pair.connect();
        pair.accept(false, Properties::default());
        pair.stored("t", [1]);
        assert_eq!(pair.sent(), ["PUBACK 1"]);
        assert_eq!(pair.payloads(), ["1"]);
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// 3.1 has no Session Present: the session that was asked for is taken to be there.
#[test]
fn mqtt_3_1_holds_in_each_session_that_it_asks_for() {
    let mut pair = Pair::unclaimed(resuming(V31), Session::default());
    pair.connect();
    pair.accept(false, Properties::default());
    pair.stored("t", [1]);
    assert!(pair.bytes().is_empty());
    let queue = pair.claim(&["t"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1"]);
    assert_eq!(pair.answers(), ["PUBACK 1"]);
}

/// They are not acknowledged, so there is nothing to withhold.
#[test]
fn qos_0_that_nobody_asked_for_goes_to_the_default_queue_at_once() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.receive("t", "0", AtMostOnce, 0);
        assert_eq!(pair.payloads(), ["0"]);
        assert_eq!(pair.unclaimed_events(), [] as [u64; 0]);
        assert_eq!(pair.client.stats().unclaimed, 0);
    }
}

/// What comes for a queue that is there is not held, not even behind a message that is: it only waits for its turn to be
/// acknowledged.
#[test]
fn queues_get_their_messages_while_others_are_held() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let queue = pair.queue(&["t"], QueueOptions::default());
        pair.stored("forgotten", [1]);
        pair.stored("t", [2]);
        assert_eq!(pair.payloads_of(queue), ["2"]);
        assert!(pair.bytes().is_empty());
        pair.reconnect(true); // its queue exists then
        pair.server_sends(again("forgotten", "1", AtLeastOnce, 1));
        pair.stored("t", [3]);
        assert_eq!(pair.payloads_of(queue), ["3"]);
        assert_eq!(pair.client.stats().awaiting_claim, 1);
    }
}

/// Closing is not detaching: what is left is acknowledged, and nothing is held for anybody.
#[test]
fn closing_a_queue_that_has_claimed_messages_acknowledges_them() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        pair.stored("t", [1, 2]);
        let queue = pair.claim(&["t"], by_application());
        pair.take(queue);
        pair.client.close_queue(queue);
        pair.pump();
        assert!(
            pair.answers().is_empty(),
            "the application has the first one"
        );
        assert_eq!(pair.client.stats().awaiting_claim, 0);
    }
}

/// A stream that the server refuses is given up by its driver: what it had claimed can be claimed again.
#[test]
fn what_a_refused_subscription_has_claimed_can_be_claimed_again() {
    let mut pair = resumed(resuming(V5));
    pair.stored("t", [1]);
    let refused = pair.client.open_queue(by_application());
    pair.subscribe_to(&["t"], refused);
    let packet_id = pair.subscribes().pop().unwrap().packet_id.get();
    pair.server_sends(suback(packet_id, &[ReasonCode::NotAuthorized]));
    pair.client.detach_queue(pair.now, refused);
    pair.pump();
    let queue = pair.claim(&["t"], QueueOptions::default());
    assert_eq!(pair.payloads_of(queue), ["1"]);
    assert_eq!(pair.answers(), ["PUBACK 1"]);
}

/// One that was refused at once was not accepted, and claims nothing.
#[test]
fn a_subscribe_that_is_not_accepted_claims_nothing() {
    let mut pair = resumed(resuming(V5));
    pair.stored("t", [1]);
    let queue = pair.client.open_queue(QueueOptions::default());
    let mut options = at(AtLeastOnce);
    options.no_local = true;
    let subscribe = ferromqtt_proto::Subscribe {
        filters: vec![(filter("$share/group/t"), options)],
        properties: Properties::default(),
        queue,
    };
    pair.client.subscribe(pair.now, subscribe).unwrap_err();
    assert_eq!(pair.client.stats().awaiting_claim, 1);
}

/// A response to an earlier run of the program answers nothing: it is acknowledged as soon as responses are subscribed to.
#[test]
fn stored_responses_are_claimed_by_the_first_request() {
    let mut options = resuming(V5);
    options.response_topic = Some(TopicName::new("mine").unwrap());
    let mut pair = resumed(options);
    pair.stored("mine", [1]);
    let request = Publish::new(TopicName::new("service").unwrap(), "?");
    pair.client.request(pair.now, request).unwrap();
    pair.pump();
    let sent = pair.sent();
    assert!(sent.contains(&"PUBACK 1".to_owned()), "{sent:?}");
    assert_eq!(pair.client.stats().awaiting_claim, 0);
    assert_eq!(pair.client.queue_len(DEFAULT), 0);
}

/// A message that was retained is one like any other when it was stored, and those that a SUBSCRIBE brings are not held.
#[test]
fn retained_messages_go_to_the_queue_that_subscribes() {
    for version in VERSIONS {
        let mut pair = resumed(resuming(version));
        let retained = |packet_id: u16| {
            let mut publish = message("t", &packet_id.to_string(), AtLeastOnce, packet_id);
            publish.retain = true;
            Packet::Publish(publish)
        };
        pair.server_sends(retained(1));
        let queue = pair.claim(&["t"], QueueOptions::default());
        pair.server_sends(retained(2)); // before SUBACK
        let messages = pair.messages_of(queue);
        assert!(messages.iter().all(|message| message.retain));
        assert_eq!(messages.len(), 2);
        assert_eq!(pair.answers(), ["PUBACK 1", "PUBACK 2"]);
    }
}

/// Identifiers that nobody asked for are not shown; those of a program before may be this one's too.
#[test]
fn what_is_claimed_shows_no_identifier_of_ours() {
    let mut before = Pair::connected(resuming(V5));
    let queue = before.client.open_queue(QueueOptions::default());
    before.bytes();
    before.subscribe_to(&["t"], queue);
    let identifiers = before
        .subscribes()
        .remove(0)
        .properties
        .subscription_identifiers;
    let mut pair = resumed(resuming(V5));
    let mut publish = message("t", "1", AtLeastOnce, 1);
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: identifiers,
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish));
    let queue = pair.claim(&["t"], QueueOptions::default());
    assert_eq!(pair.take(queue).properties, None);
}

/// What is subscribed before there is a connection, as a declared subscription is, has nothing to claim: its messages come
/// to its queue from the first byte.
#[test]
fn what_is_subscribed_before_connecting_gets_stored_messages_at_once() {
    for version in VERSIONS {
        let mut pair = Pair::unclaimed(resuming(version), Session::default());
        pair.opens = false;
        pair.connect();
        let queue = pair.claim(&["t"], QueueOptions::default());
        pair.transport_opens();
        pair.accept(true, Properties::default());
        pair.stored("t", [1]);
        assert_eq!(pair.payloads_of(queue), ["1"]);
        assert_eq!(pair.answers(), ["PUBACK 1"]);
    }
}
