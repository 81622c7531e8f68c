//! Limits that a server does not announce, and a profile knows.

use std::num::NonZeroU16;

use ferromqtt_proto::{
    CleanStart, Event, InvalidOptions, InvalidPublish, InvalidSubscribe, Options, Outcome,
    OutgoingLimits, ProfileConflict, ProfileSource, Properties, Publish, QoS, QueueId,
    QueueOptions, ReasonCode, ServerProfile, Subscribe, TopicLimit, TopicName, Will,
};

use crate::support::*;

fn of(profile: ServerProfile) -> Options {
    let mut options = options(profile.version_or(V5));
    options.profile = Some(profile);
    options.client_identifier = text("station-7");
    options.keep_alive = 60;
    options
}

fn publish(topic: &str, payload: usize, qos: QoS, retain: bool) -> Publish {
    let mut publish = Publish::new(TopicName::new(topic).unwrap(), vec![0; payload]);
    publish.qos = qos;
    publish.retain = retain;
    publish
}

/// `levels` levels of one character.
fn deep(levels: usize) -> String {
    vec!["a"; levels].join("/")
}

/// What a publish is refused for: before there is a connection, and on one.
fn refusal(profile: ServerProfile, publish: &Publish) -> InvalidPublish {
    let mut options = of(profile);
    options.reconnect = Some(ferromqtt_proto::Reconnect::default());
    let mut pair = Pair::new(options);
    pair.connect();
    let early = pair.client.publish(pair.now, publish.clone()).unwrap_err();
    pair.accept(false, Properties::default());
    let error = pair.client.publish(pair.now, publish.clone()).unwrap_err();
    assert_eq!(early, error);
    pair.pump();
    assert!(pair.bytes().is_empty(), "nothing is sent");
    assert!(error.to_string().contains(profile.name()), "{error}");
    assert!(error.limit().is_some());
    error
}

#[test]
fn what_the_server_does_not_take_is_refused_before_anything_is_sent() {
    use ServerProfile::{
        AwsIot, AzureEventGrid, AzureIotHub, EmqxCloud, Mosquitto20, Nats, RabbitMq,
    };
    for profile in [AwsIot, AzureEventGrid, AzureIotHub, RabbitMq, Nats] {
        let error = refusal(profile, &publish("t", 0, ExactlyOnce, false));
        let whose = profile.row().shown;
        assert_eq!(error, InvalidPublish::QosNotSupported { maximum: 1, whose });
    }
    let error = refusal(AzureIotHub, &publish("t", 0, AtMostOnce, true));
    let whose = AzureIotHub.row().shown;
    assert_eq!(error, InvalidPublish::RetainNotSupported { whose });
    for (profile, limit) in [
        (AwsIot, 131_072),
        (AzureIotHub, 262_144),
        (EmqxCloud, 10_485_760),
    ] {
        let error = refusal(profile, &publish("t", limit + 1, AtMostOnce, false));
        assert!(matches!(error, InvalidPublish::PayloadTooLarge { limit: it, .. } if it == limit));
    }
    let error = refusal(AzureEventGrid, &publish("t", 524_288, AtMostOnce, false));
    assert!(matches!(
        error,
        InvalidPublish::TooLarge { limit: 524_288, .. }
    ));
    for (profile, levels) in [(AwsIot, 8), (AzureEventGrid, 8), (Mosquitto20, 201)] {
        let error = refusal(profile, &publish(&deep(levels + 1), 0, AtMostOnce, false));
        let InvalidPublish::TopicLimit(TopicLimit::TooManyLevels { limit, .. }) = error else {
            panic!("{error}");
        };
        assert_eq!(limit, levels);
    }
    for profile in [AwsIot, AzureEventGrid] {
        let error = refusal(profile, &publish(&"t".repeat(257), 0, AtMostOnce, false));
        let too_long = TopicLimit::TooLong {
            bytes: 257,
            limit: 256,
            whose: profile.row().shown,
        };
        assert_eq!(error, InvalidPublish::TopicLimit(too_long));
    }
    for topic in ["a b", "a.b"] {
        let error = refusal(Nats, &publish(topic, 0, AtMostOnce, false));
        assert!(matches!(
            error,
            InvalidPublish::TopicLimit(TopicLimit::Character { .. })
        ));
    }
}

#[test]
fn what_the_server_takes_is_sent() {
    for &profile in ServerProfile::ALL {
        let row = profile.row();
        let mut pair = Pair::connected(of(profile));
        let levels = row.topic_levels.map_or(8, |it| it.value);
        let payload = row.payload_bytes.map_or(1, |it| it.value);
        let qos = row.maximum_qos.map_or(ExactlyOnce, |it| it.value);
        let retain = row.no_retain.is_none();
        pair.client
            .publish(pair.now, publish(&deep(levels), payload, qos, retain))
            .unwrap();
        pair.pump();
        assert!(!pair.bytes().is_empty(), "{profile}");
    }
}

#[test]
fn levels_that_do_not_count_are_left_out() {
    let mut pair = Pair::connected(of(ServerProfile::AwsIot));
    let ingest = |levels: usize| format!("$aws/rules/rule/{}", deep(levels));
    pair.client
        .publish(pair.now, publish(&ingest(8), 0, AtMostOnce, false))
        .unwrap();
    pair.client
        .publish(pair.now, publish(&ingest(9), 0, AtMostOnce, false))
        .unwrap_err();
    pair.subscribe(&[&format!("$share/group/{}", deep(8))]);
    let too_deep = pair.client.subscribe(
        pair.now,
        to(&[&format!("$share/group/{}", deep(9))], AtMostOnce),
    );
    assert!(matches!(too_deep, Err(InvalidSubscribe::FilterLimit(_))));
}

#[test]
fn limits_of_the_connack_hold_where_they_are_stricter() {
    let connack = Properties {
        maximum_qos: Some(AtMostOnce),
        retain_available: Some(false),
        ..maximum_packet_size(100)
    };
    let mut pair = Pair::connected_with(of(ServerProfile::AwsIot), connack);
    let whose = "the server";
    let refused = pair
        .client
        .publish(pair.now, publish("t", 0, AtLeastOnce, false));
    assert_eq!(
        refused,
        Err(InvalidPublish::QosNotSupported { maximum: 0, whose })
    );
    let refused = pair
        .client
        .publish(pair.now, publish("t", 0, AtMostOnce, true));
    assert_eq!(refused, Err(InvalidPublish::RetainNotSupported { whose }));
    let refused = pair
        .client
        .publish(pair.now, publish("t", 200, AtMostOnce, false));
    assert!(matches!(
        refused,
        Err(InvalidPublish::TooLarge { limit: 100, .. })
    ));
}

#[test]
fn what_a_connection_allows_is_told_with_the_limits_of_the_profile() {
    let pair = Pair::connected(of(ServerProfile::Nats));
    let limits = pair.client.connack().unwrap().limits;
    assert_eq!(limits.max_qos, AtLeastOnce);
    assert!(!limits.shared_subscription_available);
    let generous = Properties {
        maximum_qos: None,
        ..maximum_packet_size(1 << 20)
    };
    let pair = Pair::connected_with(of(ServerProfile::AzureEventGrid), generous);
    let limits = pair.client.connack().unwrap().limits;
    assert_eq!(limits.max_packet_size, 512 << 10);
}

#[test]
fn so_many_messages_are_in_flight_as_the_server_takes_unless_the_program_says_another_number() {
    let in_flight = |profile, own| {
        let mut options = of(profile);
        options.protocol = V311;
        options.max_in_flight = own;
        let mut pair = Pair::connected(options);
        for _ in 0..150 {
            pair.publish("t", "x", AtLeastOnce);
        }
        pair.packets().len()
    };
    assert_eq!(in_flight(ServerProfile::AwsIot, None), 100);
    assert_eq!(in_flight(ServerProfile::Mosquitto20, None), 20);
    assert_eq!(in_flight(ServerProfile::AwsIot, NonZeroU16::new(7)), 7);
}

fn to(filters: &[&str], qos: QoS) -> Subscribe {
    Subscribe {
        filters: filters.iter().map(|it| (filter(it), at(qos))).collect(),
        properties: Properties::default(),
        queue: QueueId::DEFAULT,
    }
}

#[test]
fn subscriptions_that_the_server_does_not_take_are_refused() {
    let refused = |profile, filter: &str, qos| {
        let mut pair = Pair::connected(of(profile));
        let error = pair
            .client
            .subscribe(pair.now, to(&["fine", filter], qos))
            .unwrap_err();
        pair.pump();
        assert!(pair.bytes().is_empty());
        assert!(error.to_string().contains(profile.name()), "{error}");
        error.as_reason()
    };
    for profile in [ServerProfile::RabbitMq, ServerProfile::Nats] {
        let reason = ReasonCode::SharedSubscriptionsNotSupported;
        assert_eq!(refused(profile, "$share/g/a", AtMostOnce), reason);
    }
    let reason = ReasonCode::QosNotSupported;
    assert_eq!(refused(ServerProfile::AwsIot, "a", ExactlyOnce), reason);
    let reason = ReasonCode::TopicFilterInvalid;
    assert_eq!(refused(ServerProfile::AwsIot, &deep(9), AtMostOnce), reason);
    assert_eq!(refused(ServerProfile::Nats, "a.b/#", AtMostOnce), reason);
}

/// The names `f0`, `f1` ...
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("f{number}")).collect()
}

fn subscribe_all(pair: &mut Pair, count: usize) -> ferromqtt_proto::OpId {
    let names = names(count);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pair.subscribe(&names)
}

/// How many filters each SUBSCRIBE since the last look has.
fn sizes(pair: &mut Pair) -> Vec<usize> {
    pair.subscribes()
        .iter()
        .map(|it| it.filters.iter().count())
        .collect()
}

#[test]
fn a_subscribe_with_more_filters_than_the_server_takes_is_sent_as_several_with_one_outcome() {
    for version in [V311, V5] {
        let mut options = of(ServerProfile::AwsIot);
        options.protocol = version;
        let mut pair = Pair::connected(options);
        let op = subscribe_all(&mut pair, 20);
        assert_eq!(sizes(&mut pair), [8, 8, 4]);
        let granted = [ReasonCode::GrantedQos1; 8];
        pair.server_sends(suback(3, &granted[..4]));
        let refused = [vec![ReasonCode::UnspecifiedError], granted[..7].to_vec()].concat();
        pair.server_sends(suback(1, &refused));
        assert_eq!(pair.outcomes(), [], "one packet is not answered");
        pair.server_sends(suback(2, &granted));
        let Outcome::Subscribed { reasons, .. } = pair.outcome(op) else {
            panic!("subscribed");
        };
        assert_eq!(reasons[0], ReasonCode::UnspecifiedError);
        assert_eq!(reasons[1..], [ReasonCode::GrantedQos1; 19]);
        assert_eq!(pair.client.filters(QueueId::DEFAULT).count(), 19);
        pair.publish("t", "x", AtLeastOnce);
        assert_eq!(pair.sent(), ["PUBLISH q1 4 x"]); // and all identifiers are free again
    }
}

#[test]
fn a_suback_with_the_codes_of_another_packet_is_a_protocol_error() {
    let mut pair = Pair::connected(of(ServerProfile::AwsIot));
    subscribe_all(&mut pair, 9);
    pair.server_sends(suback(2, &[ReasonCode::GrantedQos1; 8]));
    assert!(matches!(
        pair.cause(),
        ferromqtt_proto::ConnectionError::ProtocolViolation(_)
    ));
}

#[test]
fn a_split_subscribe_whose_connection_is_lost_ends_once() {
    for reconnects in [false, true] {
        let mut options = of(ServerProfile::AzureEventGrid);
        options.reconnect = reconnects.then(Default::default);
        let mut pair = Pair::connected(options);
        let op = subscribe_all(&mut pair, 15);
        assert_eq!(sizes(&mut pair), [10, 5]);
        pair.server_sends(suback(1, &[ReasonCode::GrantedQos1; 10]));
        pair.cut();
        if !reconnects {
            assert!(matches!(pair.outcome(op), Outcome::Disconnected { .. }));
            continue;
        }
        assert_eq!(pair.outcomes(), []);
        pair.wait_for_transport();
        pair.accept(false, Properties::default());
        assert_eq!(sizes(&mut pair), [10, 5], "all of it is sent again");
        pair.server_sends(suback(3, &[ReasonCode::GrantedQos1; 10]));
        pair.server_sends(suback(4, &[ReasonCode::GrantedQos1; 5]));
        assert!(
            matches!(pair.outcome(op), Outcome::Subscribed { reasons, .. } if reasons.len() == 15)
        );
    }
}

#[test]
fn an_abandoned_split_subscribe_keeps_its_identifiers_until_the_answers() {
    let mut pair = Pair::connected(of(ServerProfile::AwsIot));
    let op = subscribe_all(&mut pair, 16);
    pair.client.abandon(op);
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1; 8]));
    pair.server_sends(suback(2, &[ReasonCode::GrantedQos1; 8]));
    assert_eq!(pair.outcomes(), []);
    assert!(pair.client.is_connected());
}

/// Two packets need two identifiers at once, and wait for them together.
#[test]
fn a_split_subscribe_waits_until_there_are_identifiers_for_all_its_packets() {
    let mut options = of(ServerProfile::AwsIot);
    options.reconnect = Some(Default::default());
    options.clean_start = CleanStart::Never;
    options.max_in_flight = NonZeroU16::new(u16::MAX);
    options.outgoing = OutgoingLimits::NONE;
    let mut pair = Pair::connected(options);
    for _ in 0..65_534 {
        pair.client
            .publish(pair.now, publish("t", 0, AtLeastOnce, false))
            .unwrap();
    }
    pair.pump();
    pair.cut();
    let names = names(9);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pair.client
        .subscribe(pair.now, to(&names, AtMostOnce))
        .unwrap();
    pair.wait_for_transport();
    pair.accept(true, Properties::default());
    let is_subscribe = |packet: &String| packet.starts_with("SUBSCRIBE");
    assert!(
        !pair.sent().iter().any(is_subscribe),
        "there is one identifier"
    );
    pair.server_sends(puback(1));
    assert_eq!(sizes(&mut pair), [8, 1]);
}

#[test]
fn subscriptions_are_restored_in_packets_that_the_server_takes() {
    let mut options = of(ServerProfile::AwsIot);
    options.reconnect = Some(Default::default());
    let mut pair = Pair::connected(options);
    subscribe_all(&mut pair, 20);
    for (id, count) in [(1, 8), (2, 8), (3, 4)] {
        pair.server_sends(suback(id, &[ReasonCode::GrantedQos1; 8][..count]));
    }
    pair.bytes();
    pair.reconnect(false);
    assert_eq!(sizes(&mut pair), [8, 8, 4]);
}

/// On 5.0 each packet has the Subscription Identifier of the queue's own.
#[test]
fn packets_of_one_subscription_with_a_queue_are_identified() {
    let mut pair = Pair::connected(of(ServerProfile::AwsIot));
    let queue = pair.client.open_queue(QueueOptions::default());
    let names = names(9);
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    pair.subscribe_to(&names, queue);
    let packets = pair.subscribes();
    assert!(
        packets
            .iter()
            .all(|it| it.properties.subscription_identifiers.len() == 1)
    );
    pair.server_sends(suback(1, &[ReasonCode::GrantedQos1; 8]));
    pair.server_sends(suback(2, &[ReasonCode::GrantedQos1]));
    pair.receive("f8", "x", AtMostOnce, 0);
    assert_eq!(pair.payloads_of(queue), ["x"]);
}

#[test]
fn options_that_contradict_the_profile_are_refused() {
    let conflict = |profile, change: &dyn Fn(&mut Options)| {
        let mut options = of(profile);
        change(&mut options);
        let Err(InvalidOptions::Profile(conflict)) = options.check() else {
            panic!("{profile}");
        };
        assert!(conflict.to_string().contains(profile.name()), "{conflict}");
        *conflict
    };
    let will = |topic: &str, qos, retain| Will {
        topic: text(topic),
        payload: "gone".into(),
        qos,
        retain,
        properties: Properties::default(),
    };
    for profile in [ServerProfile::AzureIotHub, ServerProfile::Nats] {
        let it = conflict(profile, &|it| it.protocol = V5);
        assert!(matches!(it, ProfileConflict::Version { .. }));
        assert!(
            it.to_string()
                .ends_with("does not speak MQTT 5.0: choose 3.1.1"),
            "{it}"
        );
    }
    let aws = ServerProfile::AwsIot;
    let it = conflict(aws, &|it| it.will = Some(will("w", ExactlyOnce, false)));
    assert!(matches!(it, ProfileConflict::Will(_)));
    let it = conflict(aws, &|it| it.will = Some(will(&deep(9), AtMostOnce, false)));
    assert!(matches!(it, ProfileConflict::Will(_)));
    let it = conflict(ServerProfile::AzureIotHub, &|it| {
        it.will = Some(will("w", AtMostOnce, true));
    });
    assert!(matches!(it, ProfileConflict::Will(_)));
    for seconds in [0, 1_201] {
        let it = conflict(aws, &|it| it.keep_alive = seconds);
        assert!(matches!(it, ProfileConflict::KeepAlive { most: 1_200, .. }));
    }
    let it = conflict(aws, &|it| it.client_identifier = text(&"i".repeat(129)));
    assert!(matches!(
        it,
        ProfileConflict::IdentifierTooLong { bytes: 129, .. }
    ));
    let it = conflict(ServerProfile::AzureEventGrid, &|it| {
        it.client_identifier = text("")
    });
    assert!(matches!(it, ProfileConflict::IdentifierNeeded { .. }));
}

#[test]
fn a_session_of_another_client_is_sent_within_the_limits_of_the_profile() {
    let mut pair = Pair::new(resuming(V5));
    let key = {
        let mut large = publish("a.b", 0, AtLeastOnce, false);
        pair.client
            .record_accepted(&mut large, None, false)
            .unwrap()
    };
    let message = publish("a.b", 0, AtLeastOnce, false);
    pair.client
        .publish_recorded(pair.now, key, message, None)
        .unwrap();
    let mut options = resuming(V311);
    options.profile = Some(ServerProfile::Nats);
    let mut pair = Pair::with_session(options, pair.client.into_session());
    pair.connect();
    pair.accept(false, Properties::default());
    let ended = pair.events().into_iter().find_map(|event| match event {
        Event::Ended { outcome, .. } => Some(outcome),
        _ => None,
    });
    assert!(matches!(
        ended,
        Some(Outcome::NotPossible(InvalidPublish::TopicLimit(_)))
    ));
}

#[test]
fn each_row_is_reached_by_its_name_and_says_where_it_comes_from() {
    for &profile in ServerProfile::ALL {
        let row = profile.row();
        assert_eq!(row.profile, profile);
        assert_eq!(row.name.parse(), Ok(profile));
        assert!(row.shown.contains(&format!("(profile {profile})")));
        assert!(row.versions.value.contains(&V311));
        if let ProfileSource::Documents { url, read } = row.versions.source {
            assert!(url.starts_with("https://") && read.len() == "2026-11-30".len());
        }
        let refused = row.refused_characters.map_or("", |it| it.value);
        assert!(refused.is_ascii());
    }
    let unknown = "aws".parse::<ServerProfile>().unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("\"aws\": give one of aws-iot, azure-event-grid")
    );
}
