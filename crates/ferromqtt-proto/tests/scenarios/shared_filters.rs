//! One filter for several queues: the server has one subscription for all of them, and Subscription Identifiers (5.0) tell
//! which subscriptions a message was sent for. What the standard calls a Shared Subscription is another thing, and has
//! `shared_subscriptions.rs`.

use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{
    OpId, Properties, QueueId, QueueOptions, ReasonCode, Subscribe, SubscriptionOptions,
};

use crate::support::*;

fn open(pair: &mut Pair) -> QueueId {
    pair.client.open_queue(QueueOptions::default())
}

/// Subscribes with options, and with an identifier of the caller's if there is one.
fn subscribe(
    pair: &mut Pair,
    name: &str,
    options: SubscriptionOptions,
    own: Option<u32>,
    queue: QueueId,
) -> OpId {
    let subscribe = Subscribe {
        filters: vec![(filter(name), options)],
        properties: Properties {
            subscription_identifiers: own.into_iter().collect(),
            ..Properties::default()
        },
        queue,
    };
    let op = pair.client.subscribe(pair.now, subscribe).unwrap();
    pair.pump();
    op
}

/// The options of the filters in the SUBSCRIBE packets since the last look.
fn options_sent(pair: &mut Pair) -> Vec<SubscriptionOptions> {
    (pair.subscribes().iter())
        .flat_map(|it| it.filters.iter().map(|(_, options)| options))
        .collect()
}

/// The Subscription Identifier of each SUBSCRIBE packet since the last look.
fn identifiers_sent(pair: &mut Pair) -> Vec<Option<u32>> {
    (pair.subscribes().into_iter())
        .map(|it| it.properties.subscription_identifiers.first().copied())
        .collect()
}

/// The server sends a message for the subscriptions with these identifiers.
fn receive(pair: &mut Pair, topic: &str, payload: &str, identifiers: &[u32]) {
    let mut publish = message(topic, payload, AtMostOnce, 0);
    if !identifiers.is_empty() {
        publish.properties = Some(Box::new(Properties {
            subscription_identifiers: identifiers.to_vec(),
            ..Properties::default()
        }));
    }
    pair.server_sends(Packet::Publish(publish));
}

/// The identifiers that the application sees on the messages in a queue.
fn identifiers_seen(pair: &mut Pair, queue: QueueId) -> Vec<Vec<u32>> {
    (pair.messages_of(queue).into_iter())
        .map(|it| {
            it.properties
                .map_or_else(Vec::new, |it| it.subscription_identifiers)
        })
        .collect()
}

/// The second SUBSCRIBE replaces the first at the server (section 3.8.4), so it must not ask for less.
#[test]
fn the_highest_qos_that_one_queue_asked_for_is_kept() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let (one, two) = (open(&mut pair), open(&mut pair));
        subscribe(&mut pair, "a", at(AtLeastOnce), None, one);
        subscribe(&mut pair, "a", at(AtMostOnce), None, two);
        subscribe(&mut pair, "a", at(ExactlyOnce), None, two);
        subscribe(&mut pair, "a", at(AtMostOnce), None, one);
        let qos: Vec<_> = (options_sent(&mut pair).iter().map(|it| it.qos)).collect();
        assert_eq!(qos, [AtLeastOnce, AtLeastOnce, ExactlyOnce, ExactlyOnce]);
    }
}

/// Section 3.8.3.1: nothing is left out that one of them wants: No Local only if all want it, Retain As Published if one does.
#[test]
fn no_local_and_retain_as_published_serve_all_queues() {
    let with = |no_local, retain_as_published| SubscriptionOptions {
        no_local,
        retain_as_published,
        ..at(AtLeastOnce)
    };
    for (first, second, together) in [
        ((true, false), (true, false), (true, false)),
        ((true, false), (false, true), (false, true)),
        ((false, true), (true, false), (false, true)),
        ((false, false), (true, true), (false, true)),
    ] {
        let mut pair = Pair::connected(options(V5));
        let (one, two) = (open(&mut pair), open(&mut pair));
        subscribe(&mut pair, "a", with(first.0, first.1), None, one);
        subscribe(&mut pair, "a", with(second.0, second.1), None, two);
        assert_eq!(
            options_sent(&mut pair),
            [with(first.0, first.1), with(together.0, together.1)],
            "{first:?} and {second:?}"
        );
    }
}

/// A queue that asks again for less than before is not held to what it asked for first.
#[test]
fn a_queue_alone_gets_what_it_asked_for_last() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let one = open(&mut pair);
        subscribe(&mut pair, "a", at(ExactlyOnce), None, one);
        subscribe(&mut pair, "a", at(AtMostOnce), None, one);
        let qos: Vec<_> = (options_sent(&mut pair).iter().map(|it| it.qos)).collect();
        assert_eq!(qos, [ExactlyOnce, AtMostOnce]);
    }
}

/// The last to leave a filter unsubscribes it; until then the others get their messages.
#[test]
fn the_last_queue_to_leave_unsubscribes() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let queues = [open(&mut pair), open(&mut pair), open(&mut pair)];
        for queue in queues {
            subscribe(&mut pair, "a", at(AtLeastOnce), None, queue);
        }
        pair.bytes();
        assert!(pair.client.close_queue(queues[1]).is_empty());
        assert!(pair.client.close_queue(queues[0]).is_empty());
        receive(&mut pair, "a", "x", &[]);
        assert_eq!(pair.payloads_of(queues[2]), ["x"]);
        assert_eq!(pair.client.close_queue(queues[2]), [filter("a")]);
        pair.unsubscribe(&["a"]);
        assert_eq!(pair.sent(), ["UNSUBSCRIBE 4 a"]);
    }
}

/// A filter that the default queue has too is still needed when the other queue leaves.
#[test]
fn the_default_queue_keeps_a_filter_subscribed() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let one = open(&mut pair);
        pair.subscribe(&["a"]);
        pair.subscribe_to(&["a"], one);
        assert!(pair.client.close_queue(one).is_empty());
        receive(&mut pair, "a", "x", &[]);
        assert_eq!(pair.payloads(), ["x"]);
    }
}

/// A server that refuses one queue keeps the subscription of the others (section 3.9.3).
#[test]
fn a_refusal_concerns_the_queue_that_asked() {
    for version in VERSIONS {
        let mut pair = Pair::connected(options(version));
        let (one, two) = (open(&mut pair), open(&mut pair));
        pair.subscribe_to(&["a"], one);
        pair.subscribe_to(&["a"], two);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
        pair.server_sends(suback(2, &[ReasonCode::UnspecifiedError]));
        receive(&mut pair, "a", "x", &[]);
        assert_eq!(pair.payloads_of(one), ["x"]);
        assert!(pair.payloads_of(two).is_empty());
    }
}

/// Two queues subscribed to `a`, the first at QoS 2 and the second at QoS 0.
fn sharing(pair: &mut Pair) -> (QueueId, QueueId) {
    let (one, two) = (open(pair), open(pair));
    subscribe(pair, "a", at(ExactlyOnce), None, one);
    subscribe(pair, "a", at(AtMostOnce), None, two);
    for id in [1, 2] {
        pair.server_sends(suback(id, &[ReasonCode::GrantedQos2]));
    }
    (one, two)
}

/// Pitfall 6: whichever SUBSCRIBE comes last, the server's one subscription serves all.
#[test]
fn restoring_asks_for_what_all_queues_want() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let (one, two) = sharing(&mut pair);
        pair.bytes();
        pair.reconnect(false);
        let qos: Vec<_> = (options_sent(&mut pair).iter().map(|it| it.qos)).collect();
        assert_eq!(qos, [ExactlyOnce; 2]);
        receive(&mut pair, "a", "x", &[]);
        assert_eq!(pair.payloads_of(one), ["x"]);
        assert_eq!(pair.payloads_of(two), ["x"]);
        assert!(pair.payloads().is_empty());
    }
}

/// What a queue that has left wanted is not asked for any more.
#[test]
fn restoring_asks_for_nothing_that_a_closed_queue_wanted() {
    for version in VERSIONS {
        let mut pair = Pair::connected(resuming(version));
        let (one, _) = sharing(&mut pair);
        pair.client.close_queue(one);
        pair.bytes();
        pair.reconnect(false);
        assert_eq!(options_sent(&mut pair), [at(AtMostOnce)]);
    }
}

/// Section 3.8.2.1.2: own queues get an identifier, the default queue none; each filter has another one.
#[test]
fn own_queues_get_an_identifier_and_the_default_queue_none() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    pair.subscribe(&["d"]);
    pair.subscribe_to(&["a"], one);
    pair.subscribe_to(&["b"], two);
    let sent = identifiers_sent(&mut pair);
    assert_eq!(sent[0], None);
    assert!(sent[1].is_some() && sent[2].is_some(), "{sent:?}");
    assert_ne!(sent[1], sent[2]);
}

/// 3.1.1 has no properties; section 3.2.2.3.12: nor may a client send one that the server has not.
#[test]
fn no_identifier_is_assigned_where_there_is_none() {
    let unavailable = Properties {
        subscription_identifier_available: Some(false),
        ..Properties::default()
    };
    for (version, properties) in [(V311, Properties::default()), (V5, unavailable)] {
        let mut pair = Pair::connected_with(options(version), properties);
        let one = open(&mut pair);
        pair.subscribe_to(&["a"], one);
        assert_eq!(identifiers_sent(&mut pair), [None]);
        receive(&mut pair, "a", "x", &[]);
        assert_eq!(pair.payloads_of(one), ["x"]);
    }
}

/// The next server may have no identifiers, and the one after it may.
#[test]
fn restoring_assigns_identifiers_by_what_the_server_says() {
    let mut pair = Pair::connected(resuming(V5));
    let one = open(&mut pair);
    pair.subscribe_to(&["a"], one);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
    assert!(identifiers_sent(&mut pair)[0].is_some());
    for available in [false, true] {
        let properties = Properties {
            subscription_identifier_available: Some(available),
            ..Properties::default()
        };
        pair.reconnect_with(false, properties);
        let restored = pair.subscribes();
        let identifiers = &restored[0].properties.subscription_identifiers;
        assert_eq!(restored.len(), 1);
        assert_eq!(identifiers.len(), usize::from(available));
        receive(&mut pair, "a", "x", identifiers);
        assert_eq!(pair.payloads_of(one), ["x"]);
        let id = restored[0].packet_id.get();
        pair.server_sends(suback(id, &[ReasonCode::GrantedQos1]));
    }
}

/// The server has one subscription to a filter, with one identifier, so queues that share it must agree.
#[test]
fn queues_that_share_a_filter_share_its_identifier() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    pair.subscribe_to(&["a"], one);
    pair.subscribe_to(&["a"], two);
    let sent = identifiers_sent(&mut pair);
    assert_eq!(sent[0], sent[1]);
    receive(&mut pair, "a", "x", &[sent[0].unwrap()]);
    assert_eq!(pair.payloads_of(one), ["x"]);
    assert_eq!(pair.payloads_of(two), ["x"]);
    assert!(pair.payloads().is_empty());
}

/// Two queues with overlapping filters, and the identifiers of those.
fn overlapping() -> (Pair, [QueueId; 2], [u32; 2]) {
    let mut pair = Pair::connected(options(V5));
    let queues = [open(&mut pair), open(&mut pair)];
    pair.subscribe_to(&["a/#"], queues[0]);
    pair.subscribe_to(&["a/+"], queues[1]);
    let sent = identifiers_sent(&mut pair);
    let identifiers = [sent[0].unwrap(), sent[1].unwrap()];
    (pair, queues, identifiers)
}

/// MQTT-3.3.4-4: one copy with all identifiers.
#[test]
fn overlapping_subscriptions_with_one_copy() {
    let (mut pair, queues, [one, two]) = overlapping();
    receive(&mut pair, "a/b", "x", &[two, one]);
    assert_eq!(pair.payloads_of(queues[0]), ["x"]);
    assert_eq!(pair.payloads_of(queues[1]), ["x"]);
    assert!(pair.payloads().is_empty());
}

/// MQTT-3.3.4-5: one copy for each subscription, with its identifier.
#[test]
fn overlapping_subscriptions_with_a_copy_for_each() {
    let (mut pair, queues, [one, two]) = overlapping();
    receive(&mut pair, "a/b", "for one", &[one]);
    receive(&mut pair, "a/b", "for two", &[two]);
    assert_eq!(pair.payloads_of(queues[0]), ["for one"]);
    assert_eq!(pair.payloads_of(queues[1]), ["for two"]);
    assert!(pair.payloads().is_empty());
}

/// MQTT-3.3.4-4: one filter shared by two queues beside one of a third.
#[test]
fn a_shared_filter_may_overlap_another() {
    let (mut pair, queues, [one, two]) = overlapping();
    let third = open(&mut pair);
    pair.subscribe_to(&["a/#"], third);
    assert_eq!(identifiers_sent(&mut pair), [Some(one)]);
    receive(&mut pair, "a/b", "for #", &[one]);
    receive(&mut pair, "a/b", "for +", &[two]);
    assert_eq!(pair.payloads_of(queues[0]), ["for #"]);
    assert_eq!(pair.payloads_of(queues[1]), ["for +"]);
    assert_eq!(pair.payloads_of(third), ["for #"]);
}

/// An identifier that nobody asked for is none of the application's business; other properties are.
#[test]
fn assigned_identifiers_are_hidden() {
    let (mut pair, queues, [one, two]) = overlapping();
    receive(&mut pair, "a/b", "x", &[one, two]);
    for queue in queues {
        let messages = pair.messages_of(queue);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].properties, None);
    }
    let mut publish = message("a/b", "x", AtMostOnce, 0);
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: vec![one],
        content_type: Some(text("text/plain")),
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(publish));
    let messages = pair.messages_of(queues[0]);
    let properties = messages[0].properties.as_ref().unwrap();
    assert_eq!(properties.content_type, Some(text("text/plain")));
    assert!(properties.subscription_identifiers.is_empty());
}

/// MQTT-3.3.4-3: an identifier that the caller gave is sent, serves to find its queue, and stays on the message.
#[test]
fn the_callers_identifier_is_kept_visible() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    subscribe(&mut pair, "a/#", at(AtLeastOnce), Some(70), one);
    subscribe(&mut pair, "a/+", at(AtLeastOnce), None, two);
    let sent = identifiers_sent(&mut pair);
    assert_eq!(sent[0], Some(70));
    let assigned = sent[1].unwrap();
    receive(&mut pair, "a/b", "x", &[70]);
    receive(&mut pair, "a/b", "y", &[assigned, 70]);
    receive(&mut pair, "a/b", "z", &[assigned]);
    assert_eq!(identifiers_seen(&mut pair, one), [vec![70], vec![70]]);
    assert_eq!(identifiers_seen(&mut pair, two), [vec![70], vec![]]);
}

/// The default queue routes nothing, and shows what came.
#[test]
fn the_default_queue_shows_its_callers_identifiers() {
    let mut pair = Pair::connected(options(V5));
    subscribe(&mut pair, "a", at(AtLeastOnce), Some(7), QueueId::DEFAULT);
    assert_eq!(identifiers_sent(&mut pair), [Some(7)]);
    receive(&mut pair, "a", "x", &[7]);
    assert_eq!(identifiers_seen(&mut pair, QueueId::DEFAULT), [vec![7]]);
}

/// Replacing at the server () replaces the identifier too, so a queue that shares the filter keeps the caller's.
#[test]
fn a_queue_that_joins_keeps_the_callers_identifier() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    subscribe(&mut pair, "a", at(AtLeastOnce), Some(70), one);
    subscribe(&mut pair, "a", at(AtLeastOnce), None, two);
    assert_eq!(identifiers_sent(&mut pair), [Some(70), Some(70)]);
    receive(&mut pair, "a", "x", &[70]);
    assert_eq!(identifiers_seen(&mut pair, one), [vec![70]]);
    assert_eq!(pair.payloads_of(two), ["x"]);
}

/// Messages that were sent before the server knew the new identifier carry the old one, which its caller had given too.
#[test]
fn an_identifier_that_was_replaced_is_still_understood() {
    let mut pair = Pair::connected(options(V5));
    let (one, two) = (open(&mut pair), open(&mut pair));
    pair.subscribe_to(&["a/+"], two);
    subscribe(&mut pair, "a/#", at(AtLeastOnce), Some(70), one);
    subscribe(&mut pair, "a/#", at(AtLeastOnce), Some(80), one);
    receive(&mut pair, "a/b", "old", &[70]);
    receive(&mut pair, "a/b", "new", &[80]);
    assert!(pair.payloads_of(two).is_empty());
    assert_eq!(identifiers_seen(&mut pair, one), [vec![70], vec![80]]);
}

/// An assigned identifier that the caller's own has replaced is hidden still.
#[test]
fn an_assigned_identifier_that_was_replaced_is_hidden() {
    let mut pair = Pair::connected(options(V5));
    let one = open(&mut pair);
    pair.subscribe_to(&["a"], one);
    let assigned = identifiers_sent(&mut pair)[0].unwrap();
    subscribe(&mut pair, "a", at(AtLeastOnce), Some(80), one);
    receive(&mut pair, "a", "old", &[assigned]);
    receive(&mut pair, "a", "new", &[80]);
    assert_eq!(identifiers_seen(&mut pair, one), [vec![], vec![80]]);
}

/// Unknown identifiers, as of a subscription that another client of this session made: the topic decides.
#[test]
fn unknown_identifiers_fall_back_to_the_topic() {
    let (mut pair, queues, _) = overlapping();
    receive(&mut pair, "a/b", "x", &[4711]);
    receive(&mut pair, "other", "y", &[4711]);
    assert_eq!(pair.payloads_of(queues[0]), ["x"]);
    assert_eq!(pair.payloads_of(queues[1]), ["x"]);
    assert_eq!(identifiers_seen(&mut pair, QueueId::DEFAULT), [vec![4711]]);
}

/// No identifier at all, as from a server that sends none for a Shared Subscription.
#[test]
fn without_an_identifier_the_topic_decides() {
    let (mut pair, queues, _) = overlapping();
    receive(&mut pair, "a/b", "x", &[]);
    assert_eq!(pair.payloads_of(queues[0]), ["x"]);
    assert_eq!(pair.payloads_of(queues[1]), ["x"]);
}

/// A caller knows nothing of assigned identifiers, and counts from 1: those are far away.
#[test]
fn assigned_identifiers_are_out_of_the_callers_way() {
    let mut pair = Pair::connected(options(V5));
    let own = open(&mut pair);
    pair.subscribe_to(&["a/#"], own);
    assert!(identifiers_sent(&mut pair)[0] >= Some(1_000_000));
}

/// MQTT-3.3.4-5: the default queue joins a filter of another queue, and the copies for overlapping subscriptions can be told
/// apart as before.
#[test]
fn the_default_queue_may_join_a_filter_that_overlaps_another() {
    let (mut pair, queues, [_, two]) = overlapping();
    pair.subscribe(&["a/#"]);
    let now = identifiers_sent(&mut pair)[0];
    let for_all: Vec<_> = now.into_iter().collect();
    receive(&mut pair, "a/b", "for #", &for_all);
    receive(&mut pair, "a/b", "for +", &[two]);
    assert_eq!(pair.payloads_of(queues[0]), ["for #"]);
    assert_eq!(pair.payloads_of(queues[1]), ["for +"]);
    assert_eq!(pair.payloads(), ["for #"]);
}

/// The server has kept a message for the session, with the identifier of the client before. That must not be one of this
/// client's: the message would miss a queue that wants it.
#[test]
fn the_identifiers_of_an_earlier_client_are_no_others() {
    let mut options = options(V5);
    options.clean_start = ferromqtt_proto::CleanStart::Never;
    let mut pair = Pair::connected(options.clone());
    let before = open(&mut pair);
    pair.subscribe_to(&["a/#"], before);
    let earlier: Vec<_> = (identifiers_sent(&mut pair).into_iter().flatten()).collect();
    pair.restart(options, ferromqtt_proto::Session::default());
    pair.connect();
    pair.accept(true, Properties::default());
    let (one, two) = (open(&mut pair), open(&mut pair));
    pair.subscribe_to(&["a/+"], one);
    pair.subscribe_to(&["a/#"], two);
    receive(&mut pair, "a/b", "kept", &earlier);
    assert_eq!(identifiers_seen(&mut pair, one), [vec![]; 1]);
    assert_eq!(pair.payloads_of(two), ["kept"]);
}
