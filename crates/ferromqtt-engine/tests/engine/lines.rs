//! Log lines: their texts as a log without fields shows them, and which of them are written.

use std::time::Instant;

use ferromqtt_engine::{Fact, Line, LineLevel, LineValue, Lines, MessageTerms};
use ferromqtt_proto::{
    ConnectionError, FilterRefusal, InvalidSubscribe, Outcome, Properties, QoS, ReasonCode, Slip,
    TopicFilter, TopicName, TransportError,
};
use ferromqtt_testing::BrokerOptions;

use crate::world::{World, call, options, publish};

const SERVER: &str = "broker.example:1883";

/// What a client notes in its log, at a time that stands still.
struct Log {
    lines: Lines,
    now: Instant,
}

impl Log {
    fn new() -> Self {
        Self {
            lines: Lines::default(),
            now: Instant::now(),
        }
    }

    fn note(&mut self, fact: &Fact) -> Vec<Line> {
        let mut lines = Vec::new();
        self.lines.note(self.now, fact, &mut lines);
        lines
    }

    fn rendered(&mut self, fact: &Fact) -> Vec<String> {
        let lines = self.note(fact);
        lines.iter().map(|line| line.render(SERVER)).collect()
    }
}

fn connected(session_present: bool) -> Fact {
    Fact::Connected {
        session_present,
        assigned: None,
        properties: Box::default(),
    }
}

fn ended(cause: ConnectionError, retries: bool, established: bool) -> Fact {
    Fact::Disconnected {
        cause,
        address: SERVER.into(),
        has_accepted: false,
        retry_at: retries.then(Instant::now),
        unflushed: 0,
        established,
    }
}

fn not_resubscribed(filter: &str) -> Fact {
    Fact::NotResubscribed {
        filter: TopicFilter::new(filter).unwrap(),
        refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
    }
}

const fn too_large() -> InvalidSubscribe {
    InvalidSubscribe::TooLarge {
        bytes: 105,
        limit: 64,
    }
}

fn number(line: &Line, name: &str) -> Option<u64> {
    match line.get(name)? {
        LineValue::Number(number) => Some(*number),
        other => panic!("{name} is {other:?}"),
    }
}

fn failed(text: &str) -> ConnectionError {
    ConnectionError::Transport(TransportError::Failed(text.into()))
}

#[test]
fn a_line_is_told_with_its_fields_and_the_server() {
    let mut log = Log::new();
    for (fact, reported) in [
        (
            connected(true),
            "connected to broker.example:1883 (session present)",
        ),
        (connected(false), "connected to broker.example:1883"),
        (
            not_resubscribed("a\n/#"),
            r#"a subscription that the server had lost was not renewed (filter: "a\n/#", reason: Not authorized (0x87), broker.example:1883)"#,
        ),
        (
            Fact::NotSubscribed {
                filter: TopicFilter::new("t").unwrap(),
                refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
            },
            r#"the server refused a subscription that was declared before the connection (filter: "t", reason: Not authorized (0x87), broker.example:1883)"#,
        ),
        (
            Fact::NotSubscribed {
                filter: TopicFilter::new("t").unwrap(),
                refusal: FilterRefusal::NotAsked(InvalidSubscribe::NoRequests),
            },
            r#"a subscription that was declared before the connection cannot be made on it: the server was not asked (filter: "t", reason: requests and responses exist in MQTT 5.0 only: use that version, broker.example:1883)"#,
        ),
        (
            Fact::NotUnsubscribed {
                filter: TopicFilter::new("t").unwrap(),
                refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
            },
            r#"the server refused to end a subscription, and goes on to send its messages (filter: "t", reason: Not authorized (0x87), broker.example:1883)"#,
        ),
        (
            Fact::NotUnsubscribed {
                filter: TopicFilter::new("t").unwrap(),
                refusal: FilterRefusal::NotAsked(too_large()),
            },
            r#"the server could not be asked to end a subscription, and goes on to send its messages (filter: "t", reason: packet of 105 bytes is larger than the 64 that the server accepts, broker.example:1883)"#,
        ),
        (
            Fact::Tolerated {
                slip: Slip::DupAtQos0,
            },
            "the server breaks a rule of MQTT, which is tolerated: a PUBLISH at QoS 0 has DUP set; DUP is ignored (broker.example:1883)",
        ),
        (
            Fact::MessageSuspected {
                topic: TopicName::new("t").unwrap(),
                messages: 3,
                ends: 2,
                reason: None,
            },
            r#"one connection after another has ended while messages were in flight, and none was acknowledged: one of them may be the reason, and they are sent again (topic: "t", messages: 3, ends: 2, broker.example:1883)"#,
        ),
        (
            ended(failed("broker.example:1883: TCP: refused"), true, false),
            "cannot connect: broker.example:1883: TCP: refused",
        ),
        (
            ended(failed("reset"), false, true),
            "connection lost, and the client connects no more: reset (broker.example:1883)",
        ),
        (
            ended(ConnectionError::Closed, false, true),
            "disconnected from broker.example:1883",
        ),
    ] {
        assert_eq!(log.rendered(&fact), [reported]);
    }
}

#[test]
fn the_servers_words_are_told_and_a_known_server_is_at_the_right_port() {
    let mut log = Log::new();
    let unanswered = ended(ConnectionError::Unanswered, true, false);
    assert!(log.rendered(&unanswered)[0].contains("does the port expect TLS"));
    let mut known = unanswered;
    if let Fact::Disconnected { has_accepted, .. } = &mut known {
        *has_accepted = true;
    }
    let reported = log.rendered(&known);
    assert!(
        !reported[0].contains("does the port expect TLS"),
        "{reported:?}"
    );
    let properties = Properties {
        reason_string: Some("come\nback".try_into().unwrap()),
        ..Properties::default()
    };
    let busy = ConnectionError::Disconnected {
        reason: ReasonCode::ServerBusy,
        properties: properties.into(),
    };
    let reported = log.rendered(&ended(busy, true, true));
    let expected = r"connection lost: the server disconnected: Server busy (0x89): come\nback (broker.example:1883)";
    assert_eq!(reported, [expected]);
}

#[test]
fn what_repeats_is_written_at_doublings_and_the_rest_when_it_is_connected_again_or_ends() {
    let mut log = Log::new();
    let times = |log: &mut Log, fact: &Fact, count: usize| -> Vec<_> {
        let lines = (0..count).flat_map(|_| log.note(fact));
        lines.filter_map(|line| number(&line, "times")).collect()
    };
    let lost = not_resubscribed("a");
    assert_eq!(times(&mut log, &lost, 3), [1, 2]);
    let text = "a subscription that the server had lost was not renewed: a (broker.example:1883)";
    let reported = log.rendered(&connected(false));
    assert_eq!(
        reported,
        [
            &format!("{text} (3 times in all)"),
            "connected to broker.example:1883"
        ]
    );
    assert_eq!(times(&mut log, &lost, 3), [4]);
    let reported = log.rendered(&ended(ConnectionError::Closed, false, true));
    assert_eq!(
        reported,
        [
            &format!("{text} (6 times in all)"),
            "disconnected from broker.example:1883"
        ]
    );
    let reported = log.rendered(&Fact::Ended { lost: 0 });
    assert!(reported.is_empty(), "{reported:?}");
}

#[test]
fn a_line_that_was_left_out_has_its_kind_and_subject_as_fields() {
    let mut log = Log::new();
    for _ in 0..3 {
        log.note(&not_resubscribed("a"));
    }
    let lines = log.note(&Fact::Ended { lost: 7 });
    let [all, left_out] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(number(all, "messages"), Some(7));
    assert_eq!(left_out.text, "log lines that say the same were left out");
    assert_eq!(number(left_out, "times"), Some(3));
    assert_eq!(number(left_out, "left_out"), Some(1));
    let words = |name| left_out.get(name).unwrap().to_string();
    let text = "a subscription that the server had lost was not renewed";
    assert_eq!(
        (words("kind"), words("subject")),
        (format!("\"{text}\""), "a".to_owned())
    );
}

#[test]
fn messages_that_were_not_written_have_a_line_whatever_ends_the_connection() {
    for retries in [true, false] {
        let mut log = Log::new();
        let mut end = ended(ConnectionError::Closed, retries, true);
        if let Fact::Disconnected { unflushed, .. } = &mut end {
            *unflushed = 12;
        }
        let lines = log.note(&end);
        let [_, unflushed] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!(unflushed.level, LineLevel::Warn);
        assert_eq!(number(unflushed, "messages"), Some(12));
    }
}

/// Its callers get errors.
#[test]
fn a_quiet_client_tells_of_its_connection_at_debug_alone() {
    let mut log = Log::new();
    log.lines.set_quiet(true);
    for fact in [
        connected(false),
        ended(failed("reset"), false, true),
        ended(failed("refused"), false, false),
        ended(ConnectionError::Closed, false, true),
    ] {
        let lines = log.note(&fact);
        assert!(
            lines.iter().all(|line| line.level == LineLevel::Debug),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 1);
    }
    let attempt = log.note(&ended(failed("refused"), true, false));
    assert_eq!(attempt[0].level, LineLevel::Warn, "another server follows");
}

#[test]
fn what_a_quiet_client_leaves_out_is_reported_when_the_transport_has_closed() {
    let mut log = Log::new();
    log.lines.set_quiet(true);
    log.note(&connected(false));
    for _ in 0..3 {
        log.note(&not_resubscribed("a"));
    }
    for expected in [1, 0] {
        let mut lines = Vec::new();
        log.lines.closed(true, &mut lines);
        assert_eq!(lines.len(), expected, "{lines:?}");
    }
}

/// How a message is published whose refusal nobody hears of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unheard {
    GivenUp,
    Released,
    Queued,
    /// Its caller does.
    Heard,
}

/// MQTT-4.4.0-2: nobody waits for the outcome, so the log has it.
#[test]
fn a_message_that_the_server_refuses_and_nobody_waits_for_is_a_fact_with_a_line() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        for how in [
            Unheard::GivenUp,
            Unheard::Released,
            Unheard::Queued,
            Unheard::Heard,
        ] {
            refused(qos, how);
        }
    }
}

fn refused(qos: QoS, how: Unheard) {
    let mut broker = BrokerOptions::default();
    let filter = TopicFilter::new("t").unwrap();
    broker
        .deny_publish(filter, ReasonCode::QuotaExceeded)
        .unwrap();
    let mut world = World::<false>::with(options(), broker, false);
    world.run();
    world.silent = true;
    let message = publish("x", qos);
    match how {
        Unheard::Queued => {
            let now = world.now;
            ((world.engine).queue_publish(now, message, MessageTerms::default(), None)).unwrap();
        }
        _ => {
            let (_, submission) = world.publish(&message, None).unwrap();
            world.run();
            match how {
                Unheard::GivenUp => assert!(world.give_up(call(submission.unwrap()))),
                Unheard::Released => {
                    for token in world.engine.release_callers(|_| true) {
                        world.back(&token);
                    }
                }
                _ => {}
            }
        }
    }
    world.silent = false;
    world.run();
    let facts = world.facts.iter().filter_map(|fact| match fact {
        Fact::PublishRefused { topic, reason } => Some((topic.as_str(), *reason)),
        _ => None,
    });
    let facts: Vec<_> = facts.collect();
    let one = ("t", ReasonCode::QuotaExceeded);
    let wanted = if how == Unheard::Heard {
        vec![]
    } else {
        vec![one]
    };
    assert_eq!(facts, wanted, "{qos:?} {how:?}");
    let mut log = Log::new();
    let reported: Vec<_> = (world.facts.iter())
        .flat_map(|fact| log.rendered(fact))
        .collect();
    let lines = reported
        .iter()
        .filter(|line| line.contains("refused a message"));
    assert_eq!(lines.count(), wanted.len(), "{reported:?}");
    world.end();
}

#[test]
fn a_queued_message_that_is_not_delivered_and_nobody_waits_for_has_a_line() {
    let mut log = Log::new();
    let text = "a message of the outgoing queue is not delivered, and nobody waits for its outcome";
    let mut reported = |outcome| log.rendered(&Fact::MessageEnded { key: 1, outcome });
    assert_eq!(
        reported(Outcome::Dropped),
        [format!(
            "{text}: the full outgoing queue dropped the message ({SERVER})"
        )]
    );
    assert_eq!(
        reported(Outcome::Expired),
        [format!(
            "{text}: the message expired before it could be sent ({SERVER})"
        )]
    );
    let again = reported(Outcome::Dropped);
    assert!(again[0].ends_with("(2 times so far)"), "{again:?}");
    // What has gone well, what the program asked for, and what has a line of its own.
    let acknowledged = Outcome::Acknowledged {
        reason: ReasonCode::Success,
        properties: None,
        resent_as_new: false,
    };
    let refused = Outcome::Refused {
        reason: ReasonCode::QuotaExceeded,
        properties: None,
    };
    for outcome in [Outcome::Sent, acknowledged, Outcome::Replaced, refused] {
        assert_eq!(reported(outcome), [""; 0]);
    }
}

#[test]
fn what_was_left_behind_by_a_closed_queue_is_not_told_as_an_overflow() {
    let mut log = Log::new();
    let filters = vec![TopicFilter::new("a/#").unwrap()];
    let messages = 3;
    let lines = log.note(&Fact::LeftBehind { filters, messages });
    assert_eq!(number(&lines[0], "messages"), Some(3));
    let text = "received messages are lost: their subscription was left before the program had taken them, and the client has \
        acknowledged them";
    let reported = format!("{text} (filters: \"a/#\", messages: 3, {SERVER})");
    assert_eq!(lines[0].render(SERVER), reported);
}

/// A store that fails keeps nothing to itself, nor does a message that may have come twice.
#[test]
fn a_failed_store_and_a_possible_duplicate_have_lines() {
    let mut log = Log::new();
    let direction = ferromqtt_proto::Direction::Sent;
    let lines = log.rendered(&Fact::StoreFailed { direction });
    assert!(
        lines[0].contains("QoS 2 messages are not sent"),
        "{lines:?}"
    );
    let direction = ferromqtt_proto::Direction::Received;
    let lines = log.rendered(&Fact::StoreFailed { direction });
    assert!(
        lines[0].contains("QoS 2 messages are not acknowledged"),
        "{lines:?}"
    );
    let lines = log.rendered(&Fact::PossibleDuplicate {
        topic: "a/b".try_into().unwrap(),
        packet_id: ferromqtt_proto::PacketId::new(9).unwrap(),
    });
    assert!(lines[0].contains("may have come twice"), "{lines:?}");
    assert!(lines[0].contains("a/b"), "{lines:?}");
}
