//! Requests and responses (section 4.10).

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Packet};
use ferromqtt_proto::{
    Client, ConnectionError, Delivery, Event, FilterRefusal, InvalidPublish, InvalidSubscribe,
    OpId, Options, Outcome, OutgoingPolicy, Properties, Publish, QoS, QueueOptions, ReasonCode,
    Session, TopicName,
};

use crate::support::*;

fn request_of(topic: &str, qos: QoS) -> Publish {
    let mut request = Publish::new(TopicName::new(topic).unwrap(), Bytes::from_static(b"ping"));
    request.qos = qos;
    request
}

fn request(pair: &mut Pair, qos: QoS) -> OpId {
    let request = request_of("service", qos);
    let op = pair.client.request(pair.now, request).unwrap();
    pair.pump();
    op
}

/// The PUBLISH packets since the last look, and the filter subscribed before the first of them.
fn requests_sent(pair: &mut Pair) -> (Option<String>, Vec<packet::PublishPacket>) {
    let mut filter = None;
    let mut requests = Vec::new();
    for packet in pair.packets() {
        match packet {
            Packet::Subscribe(subscribe) => {
                assert!(requests.is_empty(), "SUBSCRIBE comes first");
                filter = Some(subscribe.filters.iter().next().unwrap().0.to_owned());
                pair.server_sends(suback(
                    subscribe.packet_id.get(),
                    &[ReasonCode::GrantedQos1],
                ));
            }
            Packet::Publish(publish) => requests.push(publish),
            other => panic!("{other:?}"),
        }
    }
    (filter, requests)
}

fn one_request(pair: &mut Pair) -> packet::PublishPacket {
    let (_, mut requests) = requests_sent(pair);
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

fn asked(request: &packet::PublishPacket) -> (String, Bytes) {
    let properties = request.properties.clone().unwrap();
    (
        properties.response_topic.unwrap().to_string(),
        properties.correlation_data.unwrap(),
    )
}

fn respond(pair: &mut Pair, request: &packet::PublishPacket, payload: &str) {
    let (topic, data) = asked(request);
    respond_with(pair, &topic, Some(data), payload);
}

fn respond_with(pair: &mut Pair, topic: &str, data: Option<Bytes>, payload: &str) {
    let mut response = message(topic, payload, AtMostOnce, 0);
    response.properties = Some(Box::new(Properties {
        correlation_data: data,
        ..Properties::default()
    }));
    pair.server_sends(Packet::Publish(response));
}

fn response(pair: &mut Pair, op: OpId) -> String {
    match pair.outcome(op) {
        Outcome::Responded(response) => String::from_utf8_lossy(&response.payload).into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_response_completes_the_request_that_it_answers() {
    for qos in [AtMostOnce, AtLeastOnce] {
        let mut pair = Pair::connected(options(V5));
        let ops = [request(&mut pair, qos), request(&mut pair, qos)];
        let (filter, requests) = requests_sent(&mut pair);
        let (topic, _) = asked(&requests[0]);
        assert_eq!(filter.as_ref(), Some(&topic));
        assert_eq!(asked(&requests[1]).0, topic, "one subscription is for all");
        assert_ne!(asked(&requests[0]).1, asked(&requests[1]).1);
        for request in &requests {
            if let Some(id) = request.packet_id {
                pair.server_sends(puback(id.get()));
            }
        }
        assert_eq!(pair.outcomes(), [], "an acknowledgement is no response");
        respond(&mut pair, &requests[1], "second");
        assert_eq!(response(&mut pair, ops[1]), "second");
        respond(&mut pair, &requests[0], "first");
        assert_eq!(response(&mut pair, ops[0]), "first");
        assert!(pair.messages().is_empty());
    }
}

/// MQTT-2.2.1-3: the request's Packet Identifier stays in use until PUBACK, which then completes nothing.
#[test]
fn a_response_may_come_before_the_acknowledgement() {
    let mut pair = Pair::connected(options(V5));
    let op = request(&mut pair, AtLeastOnce);
    let sent = one_request(&mut pair);
    respond(&mut pair, &sent, "quick");
    assert_eq!(response(&mut pair, op), "quick");
    assert_eq!(pair.client.abandon(op), None);
    pair.publish("t", "other", AtLeastOnce);
    assert_eq!(pair.sent(), ["PUBLISH q1 3 other"]);
    pair.server_sends(puback(2));
    assert_eq!(pair.outcomes(), []);
}

/// Whoever asked has gone, has been answered, or has never asked: nothing completes, and nothing is kept.
#[test]
fn a_response_that_nobody_waits_for_is_dropped() {
    let mut pair = Pair::connected(options(V5));
    let answered = request(&mut pair, AtMostOnce);
    let abandoned = request(&mut pair, AtMostOnce);
    let (_, requests) = requests_sent(&mut pair);
    respond(&mut pair, &requests[0], "once");
    assert_eq!(response(&mut pair, answered), "once");
    assert_eq!(pair.client.abandon(abandoned), Some(Delivery::Unknown));
    let (topic, data) = asked(&requests[0]);
    respond(&mut pair, &requests[0], "twice");
    respond(&mut pair, &requests[1], "too late");
    let mut strange = data.to_vec();
    strange[0] ^= 1; // of another run
    for data in [
        Some(strange.into()),
        Some(data.slice(..7)),
        Some(Bytes::new()),
        None,
    ] {
        respond_with(&mut pair, &topic, data, "strange");
    }
    assert_eq!(pair.events(), []);
    assert!(pair.messages().is_empty());
}

/// MQTT-4.3.2-4: a response at QoS 1 is acknowledged, whether it is waited for or not.
#[test]
fn responses_are_acknowledged() {
    let mut pair = Pair::connected(options(V5));
    request(&mut pair, AtMostOnce);
    let sent = one_request(&mut pair);
    let (topic, data) = asked(&sent);
    for number in 1..=2 {
        let mut response = message(&topic, "pong", AtLeastOnce, number);
        response.properties = Some(Box::new(Properties {
            correlation_data: Some(data.clone()),
            ..Properties::default()
        }));
        pair.server_sends(Packet::Publish(response));
        assert_eq!(pair.sent(), [format!("PUBACK {number}")]);
    }
    assert_eq!(pair.outcomes().len(), 1);
}

#[test]
fn a_request_that_nobody_is_there_for_ends_with_the_servers_word() {
    let mut pair = Pair::connected(options(V5));
    let op = request(&mut pair, AtLeastOnce);
    one_request(&mut pair);
    let puback = packet::Ack::new(id(2), ReasonCode::NoMatchingSubscribers);
    pair.server_sends(Packet::PubAck(puback));
    let outcome = pair.outcome(op);
    assert!(
        matches!(outcome, Outcome::Acknowledged { reason, .. } if reason == ReasonCode::NoMatchingSubscribers),
        "{outcome:?}"
    );
}

/// Section 3.5.2.1: PUBREC says the same as PUBACK, and its exchange goes on to PUBCOMP, on a later connection too.
#[test]
fn a_request_that_nobody_is_there_for_ends_with_the_servers_word_at_qos_2_too() {
    for loses in [false, true] {
        let mut pair = Pair::connected(resuming(V5));
        let op = request(&mut pair, ExactlyOnce);
        one_request(&mut pair);
        let pubrec = packet::Ack::new(id(2), ReasonCode::NoMatchingSubscribers);
        pair.server_sends(Packet::PubRec(pubrec));
        assert_eq!(pair.sent(), ["PUBREL 2"]);
        if loses {
            pair.reconnect(true);
            assert_eq!(pair.sent(), ["PUBREL 2"]);
            pair.events();
        }
        assert_eq!(pair.outcomes(), [], "the exchange has not ended");
        pair.server_sends(pubcomp(2));
        let outcome = pair.outcome(op);
        assert!(
            matches!(outcome, Outcome::Acknowledged { reason, .. } if reason == ReasonCode::NoMatchingSubscribers),
            "loses: {loses}: {outcome:?}"
        );
    }
}

#[test]
fn a_request_at_qos_2_that_somebody_has_got_waits_for_its_response() {
    let mut pair = Pair::connected(options(V5));
    let op = request(&mut pair, ExactlyOnce);
    let sent = one_request(&mut pair);
    pair.server_sends(pubrec(2));
    pair.server_sends(pubcomp(2));
    assert_eq!(pair.outcomes(), []);
    respond(&mut pair, &sent, "pong");
    assert_eq!(response(&mut pair, op), "pong");
}

#[test]
fn a_request_that_fails_as_a_publish_ends_as_one() {
    let mut pair = Pair::connected(options(V5));
    let op = request(&mut pair, AtLeastOnce);
    one_request(&mut pair);
    let puback = packet::Ack::new(id(2), ReasonCode::NotAuthorized);
    pair.server_sends(Packet::PubAck(puback));
    let outcome = pair.outcome(op);
    assert!(
        matches!(outcome, Outcome::Refused { reason, .. } if reason == ReasonCode::NotAuthorized),
        "{outcome:?}"
    );
}

/// Section 3.9.3: the requests of a client that may not subscribe to its Response Topic end; the next one asks again.
#[test]
fn a_refused_response_topic_ends_the_requests() {
    let mut pair = Pair::connected(options(V5));
    let on_the_wire = request(&mut pair, AtLeastOnce);
    pair.writable = false;
    let unsent = request(&mut pair, AtLeastOnce);
    pair.bytes();
    pair.server_sends(suback(1, &[ReasonCode::NotAuthorized]));
    let expected = |delivery| Outcome::Unanswerable {
        refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
        delivery,
    };
    assert_eq!(
        pair.outcomes(),
        [
            (on_the_wire, expected(Delivery::Unknown)),
            (unsent, expected(Delivery::NotSent)),
        ]
    );
    pair.writable = true;
    pair.pump();
    assert!(pair.bytes().is_empty(), "what is abandoned is not sent");
    request(&mut pair, AtLeastOnce);
    let (filter, requests) = requests_sent(&mut pair);
    assert!(filter.is_some());
    assert_eq!(requests.len(), 1);
}

/// A server without the means says so in CONNACK: nothing is sent.
#[test]
fn a_response_topic_that_does_not_fit_is_no_request() {
    let mut options = options(V5);
    options.response_topic = Some(TopicName::new("r".repeat(100)).unwrap());
    let mut pair = Pair::connected_with(options, maximum_packet_size(60));
    let error = pair
        .client
        .request(pair.now, request_of("service", AtMostOnce));
    assert!(
        matches!(
            error,
            Err(InvalidPublish::Unanswerable(
                InvalidSubscribe::TooLarge { .. }
            ))
        ),
        "{error:?}"
    );
    pair.pump();
    assert!(pair.bytes().is_empty());
}

/// MQTT-4.4.0-1 and section 3.1.2.4: a lost session takes the subscription along, which is made again; who was answered is
/// not asked again, and who waits goes on waiting.
#[test]
fn a_request_outlives_its_connection() {
    for session_present in [true, false] {
        let mut pair = Pair::connected(resuming(V5));
        let op = request(&mut pair, AtLeastOnce);
        let sent = one_request(&mut pair);
        pair.server_sends(puback(2));
        pair.reconnect(session_present);
        let (filter, requests) = requests_sent(&mut pair);
        assert_eq!(filter.is_some(), !session_present);
        assert_eq!(requests, []);
        respond(&mut pair, &sent, "late");
        assert_eq!(response(&mut pair, op), "late");
    }
}

#[test]
fn a_response_topic_that_is_not_restored_ends_the_requests() {
    let mut pair = Pair::connected(resuming(V5));
    let op = request(&mut pair, AtMostOnce);
    one_request(&mut pair);
    pair.reconnect(false);
    pair.events();
    let restored = pair.subscribes().remove(0);
    pair.server_sends(suback(
        restored.packet_id.get(),
        &[ReasonCode::QuotaExceeded],
    ));
    let outcome = Outcome::Unanswerable {
        refusal: FilterRefusal::ByServer(ReasonCode::QuotaExceeded),
        delivery: Delivery::Unknown,
    };
    assert_eq!(pair.events(), [Event::Completed { op, outcome }]);
}

#[test]
fn requests_end_with_the_last_connection() {
    let mut pair = Pair::connected(options(V5));
    let published = request(&mut pair, AtMostOnce);
    let publishing = request(&mut pair, AtLeastOnce);
    one_of_each(&mut pair);
    pair.cut();
    let mut outcomes = pair.outcomes();
    outcomes.sort_by_key(|(op, _)| *op);
    let ended: Vec<_> = outcomes.iter().map(|(op, _)| *op).collect();
    assert_eq!(ended, [published, publishing]);
    for (_, outcome) in outcomes {
        assert!(
            matches!(
                outcome,
                Outcome::Disconnected {
                    cause: ConnectionError::Transport(_),
                    delivery: Delivery::Unknown
                }
            ),
            "{outcome:?}"
        );
    }
    let error = pair
        .client
        .request(pair.now, request_of("service", AtMostOnce));
    assert_eq!(error, Err(InvalidPublish::NotConnected));
}

fn one_of_each(pair: &mut Pair) {
    let (_, requests) = requests_sent(pair);
    assert_eq!(requests.len(), 2);
}

/// Requests that are made before there is a connection leave behind the SUBSCRIBE.
#[test]
fn a_request_may_be_made_before_the_connection() {
    let mut pair = Pair::new(resuming(V5));
    pair.connect();
    let op = request(&mut pair, AtLeastOnce);
    pair.bytes();
    pair.server_sends(accepted(false, Properties::default()));
    let sent = one_request(&mut pair);
    pair.events();
    respond(&mut pair, &sent, "pong");
    assert_eq!(response(&mut pair, op), "pong");
}

/// Sections 3.2.2.3.15 and 4.10.1: Response Information is where this client's responses may go.
#[test]
fn the_response_topic_is_the_one_given_or_below_response_information() {
    let topic_of = |options: Options, information: Option<&str>| {
        let properties = Properties {
            response_information: information.map(text),
            ..Properties::default()
        };
        let mut pair = Pair::connected_with(options, properties);
        request(&mut pair, AtMostOnce);
        asked(&one_request(&mut pair)).0
    };
    let own = {
        let mut options = options(V5);
        options.response_topic = Some(TopicName::new("mine").unwrap());
        options
    };
    assert_eq!(topic_of(own, Some("given")), "mine");
    let chosen = topic_of(options(V5), None);
    assert!(chosen.starts_with("responses/"), "{chosen}");
    let below = topic_of(options(V5), Some("reserved/7/"));
    assert!(
        below.starts_with("reserved/7/") && !below.contains("//"),
        "{below}"
    );
    assert!(topic_of(options(V5), Some("not/a/#")).starts_with("responses/"));
}

#[test]
fn before_5_0_there_are_no_requests() {
    let mut pair = Pair::connected(options(V311));
    let error = pair
        .client
        .request(pair.now, request_of("service", AtMostOnce));
    assert!(
        matches!(error, Err(InvalidPublish::NoRequests)),
        "{error:?}"
    );
    assert!(pair.bytes().is_empty());
}

#[test]
fn a_request_that_the_full_queue_drops_ends_once() {
    let mut options = resuming(V5);
    options.outgoing_policy = OutgoingPolicy::DropNewest;
    options.outgoing.messages = Some(0);
    let mut pair = Pair::connected(options);
    let op = request(&mut pair, AtLeastOnce);
    assert_eq!(pair.outcome(op), Outcome::Dropped);
}

/// Sections 4.10 and 3.3.2.3.6: the responder returns the Correlation Data as it is.
#[test]
fn a_response_goes_to_the_response_topic_with_the_correlation_data() {
    let mut responder = Pair::connected(options(V5));
    let mut asking = message("service", "ping", AtLeastOnce, 1);
    asking.properties = Some(Box::new(Properties {
        response_topic: Some(text("answers/7")),
        correlation_data: Some(Bytes::from_static(b"\0\xff")),
        content_type: Some(text("text/plain")),
        ..Properties::default()
    }));
    responder.server_sends(Packet::Publish(asking));
    let received = responder.messages().remove(0);
    let response = Publish::response_to(&received, "pong").unwrap();
    responder.bytes();
    responder.client.publish(responder.now, response).unwrap();
    responder.pump();
    let packets = responder.packets();
    let [Packet::Publish(sent)] = &packets[..] else {
        panic!("{packets:?}");
    };
    let expected = Properties {
        correlation_data: Some(Bytes::from_static(b"\0\xff")),
        ..Properties::default()
    };
    assert_eq!((sent.topic.as_str(), sent.qos), ("answers/7", AtLeastOnce));
    assert_eq!(sent.properties.as_deref(), Some(&expected));
    let mut plain = received;
    plain.properties = None;
    let error = Publish::response_to(&plain, "");
    assert_eq!(error, Err(InvalidPublish::NoResponseTopic));
}

/// A queue that overlaps the Response Topic gets its copy, and the request its response.
#[test]
fn a_subscription_that_overlaps_gets_the_response_too() {
    let mut pair = Pair::connected(options(V5));
    let op = request(&mut pair, AtMostOnce);
    let sent = one_request(&mut pair);
    let all = pair.queue(&["#"], QueueOptions::default());
    respond(&mut pair, &sent, "pong");
    assert_eq!(response(&mut pair, op), "pong");
    assert_eq!(pair.payloads_of(all), ["pong"]);
}

/// Another run of the program, which counts from the start again, is not answered by what was meant for the last one.
#[test]
fn each_run_of_a_program_has_correlation_data_of_its_own() {
    let mut sent = [1, 2].map(|seed| {
        let mut pair = Pair::new(options(V5));
        pair.client = Client::new(options(V5), Session::default(), seed).unwrap();
        pair.connect();
        pair.bytes();
        pair.server_sends(accepted(false, Properties::default()));
        request(&mut pair, AtMostOnce);
        asked(&one_request(&mut pair)).1
    });
    assert_ne!(sent[0], sent[1]);
    sent.sort();
    assert!(sent.iter().all(|data| data.len() == 16));
}

/// Section 4.8.2: a Shared Subscription would give responses to others.
#[test]
fn responses_are_not_shared() {
    let mut options = options(V5);
    options.response_topic = Some(TopicName::new("$share/group/topic").unwrap());
    assert!(Client::new(options, Session::default(), 1).is_err());
}
