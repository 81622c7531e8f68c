//! UNSUBSCRIBE, and SUBSCRIBE by its bytes, in as many packets as the server needs.

use ferromqtt_proto::packet::{self, Packet};
use ferromqtt_proto::{
    Event, Options, Outcome, Properties, QueueOptions, ReasonCode, ServerProfile,
};

use crate::support::*;

/// Of a service that takes 8 filters in a packet.
fn of_eight(version: ferromqtt_proto::ProtocolVersion) -> Options {
    let mut options = options(version);
    options.profile = Some(ServerProfile::AwsIot);
    options.client_identifier = text("station-7");
    options.keep_alive = 60;
    options
}

/// The names `f0`, `f1` ...
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("f{number}")).collect()
}

/// How many filters each UNSUBSCRIBE since the last look has.
fn unsubscribes(pair: &mut Pair) -> Vec<usize> {
    let sent = pair.sent();
    let sent = sent.iter().filter(|it| it.starts_with("UNSUBSCRIBE"));
    sent.map(|it| it.split(' ').count() - 2).collect()
}

#[test]
fn an_unsubscribe_is_split_as_a_subscribe_is() {
    for version in [V311, V5] {
        let mut pair = Pair::connected(of_eight(version));
        let names = names(20);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let op = pair.unsubscribe(&names);
        assert_eq!(unsubscribes(&mut pair), [8, 8, 4]);
        let codes = |reason, count| match version {
            V5 => vec![reason; count],
            _ => Vec::new(),
        };
        pair.server_sends(unsuback(3, &codes(ReasonCode::Success, 4)));
        pair.server_sends(unsuback(1, &codes(ReasonCode::NoSubscriptionExisted, 8)));
        assert_eq!(pair.outcomes(), [], "one packet is not answered");
        pair.server_sends(unsuback(2, &codes(ReasonCode::Success, 8)));
        let Outcome::Unsubscribed { reasons, .. } = pair.outcome(op) else {
            panic!("unsubscribed");
        };
        let expected = [
            codes(ReasonCode::NoSubscriptionExisted, 8),
            codes(ReasonCode::Success, 12),
        ];
        assert_eq!(reasons, expected.concat());
        pair.publish("t", "x", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 4 x"]); // and all identifiers are free again
    }
}

/// What the server refuses of one packet concerns none of the others, also after another connection.
#[test]
fn a_refusal_in_one_packet_of_a_split_unsubscribe_keeps_its_filter_alone() {
    for cut in [false, true] {
        let mut options = of_eight(V5);
        options.reconnect = Some(Default::default());
        let mut pair = Pair::connected(options);
        let queue = pair.client.open_queue(QueueOptions::default());
        let names = names(9);
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        pair.subscribe_to(&names, queue);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1; 8]));
        pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
        pair.unsubscribe(&names);
        let mut id = 3;
        if cut {
            pair.server_sends(unsuback(id, &[ReasonCode::Success; 8]));
            pair.cut();
            pair.wait_for_transport();
            pair.accept(true, Properties::default());
            id = 5;
        }
        assert_eq!(unsubscribes(&mut pair).last(), Some(&1));
        let refused = [
            vec![ReasonCode::NotAuthorized],
            vec![ReasonCode::Success; 7],
        ]
        .concat();
        pair.server_sends(unsuback(id + 1, &[ReasonCode::NotAuthorized]));
        pair.server_sends(unsuback(id, &refused));
        let kept: Vec<_> = pair
            .client
            .filters(queue)
            .map(ToString::to_string)
            .collect();
        match cut {
            true => assert_eq!(kept, ["f8"], "the first packet was answered before"),
            false => assert_eq!(kept, ["f8", "f0"]),
        }
        let ended = |event: &Event| matches!(event, Event::Unsubscribed(_));
        assert!(!pair.events().iter().any(ended));
    }
}

/// MQTT-3.2.2-15, without a profile: both requests keep to the server's Maximum Packet Size.
#[test]
fn requests_are_split_by_maximum_packet_size() {
    let limit = 64;
    let mut pair = Pair::connected_with(options(V5), maximum_packet_size(limit));
    let names = names(40);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let queue = pair.client.open_queue(QueueOptions::default());
    for is_subscribe in [true, false] {
        match is_subscribe {
            true => _ = pair.subscribe_to(&names, queue),
            false => _ = pair.unsubscribe(&names),
        }
        let bytes = pair.bytes();
        let (mut at, mut filters, mut packets) = (0, 0, 0);
        while at < bytes.len() {
            let size = 2 + usize::from(bytes[at + 1]);
            assert!(size <= limit as usize);
            let packet = packet::decode(&bytes, &mut at, V5).unwrap();
            let (id, count) = match packet {
                Packet::Subscribe(it) => {
                    let identifiers = &it.properties.subscription_identifiers;
                    assert_eq!(identifiers.len(), 1, "there is room for it");
                    (it.packet_id, it.filters.len())
                }
                Packet::Unsubscribe(it) => (it.packet_id, it.filters.len()),
                other => panic!("{other:?}"),
            };
            let reasons = vec![ReasonCode::Success; count];
            pair.server_sends(match is_subscribe {
                true => suback(id.get(), &reasons),
                false => unsuback(id.get(), &reasons),
            });
            (filters, packets) = (filters + count, packets + 1);
        }
        assert_eq!(filters, 40);
        assert!(packets <= 5, "no more than necessary: {packets}");
        assert_eq!(pair.outcomes().len(), 1);
        let subscribed = if is_subscribe { 40 } else { 0 };
        assert_eq!(pair.client.filters(queue).count(), subscribed);
    }
}

/// It was accepted without a connection, and perhaps nobody waits for its outcome.
#[test]
fn an_unsubscribe_that_has_become_impossible_is_reported() {
    let mut pair = Pair::connected(resuming(V5));
    let queue = pair.client.open_queue(QueueOptions::default());
    let long = "x".repeat(40);
    pair.subscribe_to(&[&long], queue);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1]));
    pair.cut();
    let op = pair.unsubscribe(&["a", &long]);
    pair.wait_for_transport();
    pair.events();
    pair.accept(true, maximum_packet_size(40));
    let reported = pair.events().into_iter().filter_map(|event| match event {
        Event::NotUnsubscribed {
            filter,
            refusal,
            op,
        } => Some((filter.len(), refusal.reason(), op)),
        _ => None,
    });
    let too_large = ReasonCode::PacketTooLarge;
    let expected = [(1, too_large, Some(op)), (40, too_large, Some(op))];
    assert_eq!(reported.collect::<Vec<_>>(), expected);
    assert_eq!(pair.client.filters(queue).count(), 1, "it is as before");
}
