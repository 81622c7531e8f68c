//! What callers are to be told of the ends of their calls, and where connections led to that ended.

use std::time::Duration;

use ferromqtt_engine::{
    Awaited, CallEnd, ConnectionEvent, FilterResult, PublishError, Published, RequestError,
    SubscribeError, end_text,
};
use ferromqtt_proto::{
    ConnectionError, Delivery, InvalidPublish, InvalidSubscribe, Outcome, Properties, ReasonCode,
    Reconnect, Utf8String,
};

use crate::world::{World, options};

const LIMIT: Duration = Duration::from_millis(1_500);

fn published(end: CallEnd) -> Result<Published, PublishError> {
    end.published(Awaited::PubAck, LIMIT)
}

fn answered(end: CallEnd) -> Result<Vec<FilterResult>, SubscribeError> {
    let answer = end.answered(Awaited::SubAck, LIMIT)?;
    Ok(answer.results)
}

fn refused(words: &str) -> Outcome {
    let properties = Properties {
        reason_string: Some(Utf8String::try_from(words).unwrap()),
        ..Properties::default()
    };
    Outcome::Refused {
        reason: ReasonCode::QuotaExceeded,
        properties: Some(Box::new(properties)),
    }
}

/// The text, whether the message may have arrived, and what another language shows of the text.
#[test]
fn an_error_of_publishing_says_what_happened_and_whether_the_message_may_have_arrived() {
    let too_large = || InvalidPublish::TooLarge {
        bytes: 9,
        limit: 8,
        whose: "the server",
    };
    let cases = [
        (
            CallEnd::Completed(refused("no more today")),
            "the server refused the message: Quota exceeded (0x97): no more today",
            Delivery::Unknown,
        ),
        (
            CallEnd::Completed(Outcome::GivenUp(too_large())),
            "cannot be sent again: packet of 9 bytes is larger than the 8 that the server accepts; the message may have \
             arrived",
            Delivery::Unknown,
        ),
        (
            CallEnd::Completed(Outcome::Dropped),
            "the full outgoing queue dropped the message",
            Delivery::NotSent,
        ),
        (
            CallEnd::Completed(Outcome::SessionLost),
            "the server lost the session; the message may have arrived",
            Delivery::Unknown,
        ),
        (
            CallEnd::Completed(Outcome::Unreleased { properties: None }),
            "the server took the message over, and then lost its Packet Identifier (0x92); the message may have arrived",
            Delivery::Unknown,
        ),
        (
            CallEnd::Refused(PublishError::QueueFull {
                limit: 1,
                unit: "messages",
            }),
            "the outgoing queue is full (1 messages)",
            Delivery::NotSent,
        ),
        (
            CallEnd::TimedOut(Delivery::Unknown),
            "no PUBACK within 1.5 s: the message was sent and may have arrived, and stays in the session",
            Delivery::Unknown,
        ),
        (
            CallEnd::DriverGone,
            "the connection ended before the message was acknowledged: the task behind the connection has gone, since its \
             runtime was shut down or it panicked: keep that runtime for as long as its clients are used",
            Delivery::Unknown,
        ),
    ];
    for (end, text, delivery) in cases {
        let error = published(end).unwrap_err();
        assert_eq!(error.summary(), text);
        assert_eq!(error.delivery(), delivery, "{text}");
        assert!(error.to_string().starts_with(text), "{error}");
    }
    let sent = published(CallEnd::Completed(Outcome::Sent));
    assert_eq!(sent, Ok(Published::SENT));
}

#[test]
fn an_address_stands_where_something_was_awaited_from() {
    let overdue = |awaited: Awaited, delivery| awaited.overdue(delivery, "broker:1883", LIMIT);
    assert_eq!(
        overdue(Awaited::SubAck, Delivery::Unknown),
        "no SUBACK from broker:1883 within 1.5 s"
    );
    assert_eq!(
        overdue(Awaited::PubRecAndPubComp, Delivery::NotSent),
        "nothing could be sent to broker:1883 within 1.5 s"
    );
}

#[test]
fn what_ends_a_subscribe_is_no_error_of_publishing() {
    let granted = CallEnd::Completed(Outcome::Subscribed {
        reasons: vec![ReasonCode::GrantedQos1],
        properties: None,
    });
    let results = vec![FilterResult::of_suback(ReasonCode::GrantedQos1)];
    assert_eq!(answered(granted), Ok(results));
    let closed = CallEnd::Completed(Outcome::Dropped); // its queue, while it waited for a connection
    let expected = SubscribeError::Invalid(InvalidSubscribe::NoQueue);
    assert_eq!(answered(closed), Err(expected));
    let late = answered(CallEnd::TimedOut(Delivery::Unknown)).unwrap_err();
    assert_eq!(late.to_string(), "no SUBACK within 1.5 s");
    assert_eq!(late.delivery(), Delivery::Unknown);
}

#[test]
fn a_request_that_is_acknowledged_only_has_no_responder() {
    let acknowledged = CallEnd::Completed(Outcome::Acknowledged {
        reason: ReasonCode::NoMatchingSubscribers,
        properties: None,
        resent_as_new: false,
    });
    let error = acknowledged.responded(Awaited::PubAck, LIMIT).unwrap_err();
    assert_eq!(error, RequestError::NoResponder);
    assert_eq!(error.delivery(), Delivery::Unknown); // the server has it
    let late = CallEnd::TimedOut(Delivery::NotSent);
    let expected = RequestError::TimedOut {
        limit: LIMIT,
        delivery: Delivery::NotSent,
    };
    assert_eq!(late.responded(Awaited::PubAck, LIMIT), Err(expected));
}

#[test]
fn a_server_that_has_accepted_a_connection_is_not_suspected_to_be_the_wrong_one() {
    let text = end_text(&ConnectionError::Unanswered, false);
    assert!(text.contains("does the port expect TLS"), "{text}");
    let text = end_text(&ConnectionError::Unanswered, true);
    assert_eq!(
        text,
        "the server closed the connection instead of answering CONNECT"
    );
}

/// An event that is taken late names the server that the connection led to, and not the one that is tried by then.
#[test]
fn the_end_of_a_connection_has_its_own_address() {
    let mut options = options();
    options.reconnect = Some(Reconnect::default());
    let mut world = World::<false>::connected(options);
    world.engine.begin_attempt("first:1883");
    let (_, _, mut next) = world.engine.read_events();
    world.lose();
    world.engine.begin_attempt("second:1883");
    let Some(ConnectionEvent::Disconnected { address, .. }) = world.engine.take_event(&mut next)
    else {
        panic!("the connection has ended");
    };
    assert_eq!(&*address, "first:1883");
    assert_eq!(world.engine.last_end_address(), "first:1883");
    assert_eq!(world.engine.address(), "second:1883");
    assert!(!world.engine.has_accepted("second:1883"));
}
