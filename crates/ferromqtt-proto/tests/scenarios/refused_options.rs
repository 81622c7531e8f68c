//! What a version of MQTT, or a packet, does not have is refused under its name, and not ignored.

use std::borrow::Borrow;

use bytes::Bytes;
use ferromqtt_proto::packet::{Disconnect, TopicAlias};
use ferromqtt_proto::{
    Client, InvalidOptions, InvalidPublish, InvalidSubscribe, Options, Properties, PropertyError,
    PropertyProblem, Publish, QueueId, RetainHandling, Session, Subscribe, SubscriptionOptions,
    TopicName, Unsubscribe, Will,
};

use crate::support::*;

const BEFORE_5: [ferromqtt_proto::ProtocolVersion; 2] = [V31, V311];

/// One property each.
fn one_of_each() -> Vec<(&'static str, Properties)> {
    let none = Properties::default;
    macro_rules! each {
        ($($field:ident: $value:expr),+ $(,)?) => {
            vec![$((stringify!($field), Properties { $field: $value, ..none() })),+]
        };
    }
    each! {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(1),
        content_type: Some(text("x")),
        response_topic: Some(text("x")),
        correlation_data: Some(Bytes::from_static(b"x")),
        session_expiry_interval: Some(1),
        authentication_method: Some(text("x")),
        request_problem_information: Some(true),
        will_delay_interval: Some(1),
        request_response_information: Some(true),
        receive_maximum: receive_maximum(1).receive_maximum,
        topic_alias_maximum: Some(1),
        topic_alias: Some(TopicAlias(receive_maximum(1).receive_maximum.unwrap())),
        maximum_packet_size: maximum_packet_size(1).maximum_packet_size,
        subscription_identifiers: [1].into(),
        user_properties: [("a", "b")].into_iter().map(|(n, v)| (text(n), text(v))).collect(),
    }
}

fn refusal(options: Options) -> InvalidOptions {
    Client::new(options, Session::default(), 1).unwrap_err()
}

#[track_caller]
fn assert_names(
    error: impl Borrow<PropertyError>,
    place: &str,
    property: &str,
    problem: PropertyProblem,
) {
    let error = error.borrow();
    assert_eq!((error.place, error.property), (place, property));
    assert_eq!(error.problem, problem);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("{property} of {place} ")),
        "{text}"
    );
}

#[test]
fn a_property_of_connect_or_the_will_is_refused_by_name_before_5_0() {
    for version in BEFORE_5 {
        for (property, properties) in one_of_each() {
            let mut of_connect = options(version);
            of_connect.properties = properties.clone();
            let InvalidOptions::Property(error) = refusal(of_connect) else {
                panic!("{property}");
            };
            assert_names(
                error,
                "CONNECT",
                property,
                PropertyProblem::NotInThisVersion,
            );

            let mut of_will = options(version);
            of_will.will = Some(Will {
                topic: text("gone"),
                payload: Bytes::new(),
                qos: AtMostOnce,
                retain: false,
                properties,
            });
            let InvalidOptions::Property(error) = refusal(of_will) else {
                panic!("{property}");
            };
            assert_names(
                error,
                "the will",
                property,
                PropertyProblem::NotInThisVersion,
            );
        }
    }
}

#[test]
fn an_option_that_only_5_0_has_is_refused_by_name_before_it() {
    type Set = fn(&mut Options);
    let set: [(&str, Set); 3] = [
        ("response_topic", |it| {
            it.response_topic = Some(TopicName::new("answers").unwrap());
        }),
        ("topic_aliases_out", |it| it.topic_aliases_out = 1),
        ("follow_server_reference", |it| {
            it.follow_server_reference = true
        }),
    ];
    for (name, set) in set {
        for version in BEFORE_5 {
            let mut options = options(version);
            set(&mut options);
            let InvalidOptions::Property(error) = refusal(options) else {
                panic!("{name}");
            };
            assert_names(
                error,
                "the options",
                name,
                PropertyProblem::NotInThisVersion,
            );
        }
        let mut options = options(V5);
        set(&mut options);
        options.check().unwrap();
    }
}

#[test]
fn an_option_of_subscribe_that_only_5_0_has_is_refused_by_name_before_it() {
    let plain = at(AtLeastOnce);
    for (name, wanted) in [
        (
            "no_local",
            SubscriptionOptions {
                no_local: true,
                ..plain
            },
        ),
        (
            "retain_as_published",
            SubscriptionOptions {
                retain_as_published: true,
                ..plain
            },
        ),
        (
            "retain_handling",
            SubscriptionOptions {
                retain_handling: RetainHandling::Never,
                ..plain
            },
        ),
    ] {
        let subscribe = Subscribe {
            filters: vec![(filter("a"), plain), (filter("b"), wanted)],
            properties: Properties::default(),
            queue: QueueId::DEFAULT,
        };
        for version in BEFORE_5 {
            let mut pair = Pair::connected(options(version));
            let error = pair
                .client
                .subscribe(pair.now, subscribe.clone())
                .unwrap_err();
            let InvalidSubscribe::Property(error) = error else {
                panic!("{error}");
            };
            assert_names(error, "SUBSCRIBE", name, PropertyProblem::NotInThisVersion);
            pair.pump();
            assert!(pair.bytes().is_empty());
        }
        let mut pair = Pair::connected(options(V5));
        pair.client.subscribe(pair.now, subscribe).unwrap();
    }
}

#[test]
fn properties_of_calls_are_refused_by_name_before_5_0() {
    for version in BEFORE_5 {
        for (property, properties) in one_of_each() {
            let mut pair = Pair::connected(options(version));
            let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
            publish.properties = Some(Box::new(properties.clone()));
            let error = pair.client.publish(pair.now, publish).unwrap_err();
            let InvalidPublish::Property(error) = error else {
                panic!("{error}");
            };
            assert_names(
                error,
                "PUBLISH",
                property,
                PropertyProblem::NotInThisVersion,
            );

            let unsubscribe = Unsubscribe {
                filters: vec![filter("a")],
                properties,
            };
            let error = pair.client.unsubscribe(pair.now, unsubscribe).unwrap_err();
            let InvalidSubscribe::Property(error) = error else {
                panic!("{error}");
            };
            assert_names(
                error,
                "UNSUBSCRIBE",
                property,
                PropertyProblem::NotInThisVersion,
            );
            pair.pump();
            assert!(pair.bytes().is_empty());
        }
    }
}

#[test]
fn a_property_that_the_packet_does_not_have_is_named() {
    let mut of_connect = options(V5);
    of_connect.properties.server_keep_alive = Some(1);
    let error = refusal(of_connect);
    assert_eq!(
        error.to_string(),
        "server_keep_alive of CONNECT does not exist there: leave it out"
    );
    let mut pair = Pair::connected(options(V5));
    let disconnect = Disconnect {
        properties: Properties {
            server_reference: Some(text("other")),
            ..Properties::default()
        },
        ..Disconnect::normal()
    };
    let error = pair.client.check_disconnect(&disconnect).unwrap_err();
    assert_eq!(
        error.to_string(),
        "server_reference of DISCONNECT does not exist there: leave it out"
    );
    let mut publish = Publish::new(TopicName::new("t").unwrap(), "x");
    publish.properties = Some(Box::new(Properties {
        subscription_identifiers: [1].into(),
        ..Properties::default()
    }));
    let error = pair.client.publish(pair.now, publish).unwrap_err();
    assert_eq!(
        error.to_string(),
        "subscription_identifiers of PUBLISH is set by the client itself: leave it out"
    );
}

#[test]
fn a_value_out_of_range_is_named_with_its_range() {
    let mut with_data = options(V5);
    with_data.properties.authentication_data = Some(Bytes::from(vec![0; 65_536]));
    assert_eq!(
        refusal(with_data).to_string(),
        "authentication_data of CONNECT is 65536 bytes long, and MQTT allows 65535: shorten it"
    );
    let mut pair = Pair::connected(options(V5));
    for (identifiers, problem) in [
        (vec![0], "must be from 1 to 268435455"),
        (vec![1, 2], "may be given once only"),
    ] {
        let subscribe = Subscribe {
            filters: vec![(filter("a"), at(AtMostOnce))],
            properties: Properties {
                subscription_identifiers: identifiers.into(),
                ..Properties::default()
            },
            queue: QueueId::DEFAULT,
        };
        let error = pair.client.subscribe(pair.now, subscribe).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("subscription_identifiers of SUBSCRIBE {problem}")
        );
    }
}
