//! Nothing that the core has shows a payload, or what authenticates, in its `Debug` or in the text of an error.

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Ack, Auth, ConnAck, Disconnect, Packet, SubAck, UnsubAck};
use ferromqtt_proto::{
    ConnectResult, Connected, ConnectionError, Event, Message, Outcome, Properties, Publish, QoS,
    QueueOptions, ReasonCode, Session, SessionChange, Subscribe, TopicName, TransportError,
    Unsubscribe, Will,
};

use crate::support::markers::*;
use crate::support::store::{Store, journaled};
use crate::support::*;

fn secret() -> Bytes {
    Bytes::from(MARKER)
}

/// Every property that may hold a secret.
fn properties() -> Properties {
    Properties {
        authentication_method: Some(text("M")),
        authentication_data: Some(secret()),
        correlation_data: Some(secret()),
        user_properties: vec![(text(MARKER), text(MARKER))].into_iter().collect(),
        ..Properties::default()
    }
}

/// Those of a message.
fn of_message() -> Properties {
    Properties {
        authentication_method: None,
        authentication_data: None,
        ..properties()
    }
}

/// Those of packets that authenticate.
fn of_connect() -> Properties {
    Properties {
        correlation_data: None,
        ..properties()
    }
}

fn will() -> Will {
    Will {
        topic: text("gone"),
        payload: secret(),
        qos: AtMostOnce,
        retain: false,
        properties: of_message(),
    }
}

fn publish(qos: QoS) -> Publish {
    let mut publish = Publish::new(TopicName::new("t").unwrap(), secret());
    publish.qos = qos;
    publish.properties = Some(Box::new(of_message()));
    publish
}

fn received(qos: QoS, packet_id: u16) -> packet::PublishPacket {
    let mut publish = message("t", MARKER, qos, packet_id);
    publish.properties = Some(Box::new(of_message()));
    publish
}

fn login() -> ferromqtt_proto::Options {
    let mut options = journaled(V5);
    options.user_name = Some(text("u"));
    options.password = Some(secret());
    options.will = Some(will());
    options.properties = of_connect();
    options
}

/// What the server may repeat.
fn echo() -> Properties {
    Properties {
        reason_string: Some(text(&format!("wrong password {MARKER}"))),
        ..Properties::default()
    }
}

#[test]
fn packets_show_neither_payloads_nor_what_authenticates() {
    let ack = || Ack {
        packet_id: id(1),
        reason: ReasonCode::Success,
        properties: Some(Box::new(properties())),
    };
    let packets = [
        Packet::Connect(Box::new(packet::Connect {
            protocol: V5,
            clean_start: true,
            keep_alive: 0,
            properties: properties(),
            client_identifier: text("me"),
            will: Some(will()),
            user_name: Some(text("u")),
            password: Some(secret()),
        })),
        Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason: ReasonCode::Success,
            properties: properties(),
        })),
        Packet::Publish(received(AtMostOnce, 0)),
        Packet::PubAck(ack()),
        Packet::PubRec(ack()),
        Packet::PubRel(ack()),
        Packet::PubComp(ack()),
        Packet::Subscribe(Box::new(packet::SubscribePacket {
            packet_id: id(1),
            properties: properties(),
            filters: vec![(text("a"), at(AtMostOnce))].into(),
        })),
        Packet::SubAck(Box::new(SubAck {
            packet_id: id(1),
            properties: properties(),
            reasons: vec![],
        })),
        Packet::Unsubscribe(Box::new(packet::UnsubscribePacket {
            packet_id: id(1),
            properties: properties(),
            filters: vec![text("a")].into(),
        })),
        Packet::UnsubAck(Box::new(UnsubAck {
            packet_id: id(1),
            properties: properties(),
            reasons: vec![],
        })),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(Box::new(Disconnect {
            reason: ReasonCode::Success,
            properties: properties(),
        })),
        Packet::Auth(Box::new(Auth {
            reason: ReasonCode::Success,
            properties: properties(),
        })),
    ];
    for packet in &packets {
        // A new kind of packet is added above when this asks for it.
        match packet {
            Packet::Connect(it) => look(it),
            Packet::ConnAck(it) => look(it),
            Packet::Publish(it) => {
                look(it);
                look(&it.borrowed());
            }
            Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubRel(it) | Packet::PubComp(it) => {
                look(it);
            }
            Packet::Subscribe(it) => look(it),
            Packet::SubAck(it) => look(it),
            Packet::Unsubscribe(it) => look(it),
            Packet::UnsubAck(it) => look(it),
            Packet::Disconnect(it) => look(it),
            Packet::Auth(it) => look(it),
            Packet::PingReq | Packet::PingResp => {}
        }
        look(packet);
    }
}

#[test]
fn what_goes_in_and_comes_out_shows_neither_payloads_nor_what_authenticates() {
    look(&publish(AtMostOnce));
    look(&login());
    look(&Subscribe {
        filters: vec![(filter("a"), at(AtMostOnce))],
        properties: of_message(),
        queue: ferromqtt_proto::QueueId::DEFAULT,
    });
    look(&Unsubscribe {
        filters: vec![filter("a")],
        properties: of_message(),
    });
    let mut message = Message::new(TopicName::new("t").unwrap(), secret());
    message.properties = Some(Box::new(of_message()));
    look(&message);
    look(&SessionChange::Publishing {
        key: 1,
        packet_id: id(1),
        publish: publish(AtLeastOnce),
    });
    for cause in [
        ConnectionError::Refused {
            reason: ReasonCode::NotAuthorized,
            properties: properties().into(),
        },
        ConnectionError::Disconnected {
            reason: ReasonCode::NotAuthorized,
            properties: properties().into(),
        },
        ConnectionError::Transport(TransportError::EndOfStream),
    ] {
        look_at_error(&cause);
        let delivery = ferromqtt_proto::Delivery::Unknown;
        look(&Outcome::Disconnected { cause, delivery });
    }
    let boxed = || Some(Box::new(properties()));
    for outcome in [
        Outcome::Acknowledged {
            reason: ReasonCode::Success,
            properties: boxed(),
            resent_as_new: false,
        },
        Outcome::Responded(Box::new(message)),
        Outcome::Subscribed {
            reasons: vec![],
            properties: boxed(),
        },
        Outcome::Unsubscribed {
            reasons: vec![],
            properties: boxed(),
        },
        Outcome::Refused {
            reason: ReasonCode::NotAuthorized,
            properties: boxed(),
        },
    ] {
        look(&outcome);
    }
    look(&Event::Connected(Box::new(Connected {
        session_present: false,
        properties: properties(),
    })));
}

/// [`ConnectResult`] has what a CONNACK said.
#[test]
fn what_a_connack_has_settled_shows_no_secret() {
    let mut options = options(V5);
    options.properties.authentication_method = Some(text("M"));
    let mut pair = Pair::new(options);
    pair.connect();
    pair.accept(false, of_connect());
    let found: Option<&ConnectResult> = pair.client.connack();
    assert_eq!(found.unwrap().properties.authentication_data, None);
    assert!(!found.unwrap().properties.user_properties.is_empty());
    look(&found);
}

#[test]
fn properties_show_those_that_there_are_and_shorten_texts() {
    assert_eq!(format!("{:?}", Properties::default()), "Properties");
    let shown = Properties {
        message_expiry_interval: Some(7),
        correlation_data: Some(secret()),
        content_type: Some(text("text/plain")),
        reason_string: Some(text(&format!("no\r\n{}", "x".repeat(1000)))),
        ..Properties::default()
    };
    let shown = format!("{shown:?}");
    let begin = r#"Properties { message_expiry_interval: 7, content_type: "text/plain", correlation_data: ***, reason_string: "no\r\nxxx"#;
    assert!(shown.starts_with(begin), "{shown}");
    assert!(shown.ends_with("x…\" }") && shown.len() < 350, "{shown}");
}

/// Looks at the client and at all that it has to tell.
struct Watched {
    pair: Pair,
    store: Store,
}

impl Watched {
    fn new(pair: Pair) -> Self {
        let mut watched = Self {
            pair,
            store: Store::default(),
        };
        watched.look();
        watched
    }

    fn look(&mut self) -> Vec<Event> {
        look(&self.pair.client);
        self.store.write(&mut self.pair);
        self.store.entries.iter().for_each(look);
        let events = self.pair.events();
        look(&events);
        look(&self.pair.client);
        events
    }

    fn sends(&mut self, packet: Packet) -> Vec<Event> {
        self.pair.server_sends(packet);
        self.look()
    }
}

#[test]
fn a_client_shows_no_secret_in_any_state() {
    let mut watched = Watched::new(Pair::new(login()));
    watched.pair.writable = false; // CONNECT stays where Debug could see it
    watched.pair.connect();
    watched.look();
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let pair = &mut watched.pair;
        pair.client.publish(pair.now, publish(qos)).unwrap();
        watched.look();
    }
    watched.pair.writable = true;
    watched.pair.pump();
    watched.look();
    watched.pair.packets();
    let again = Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: of_connect(),
    };
    watched.sends(Packet::Auth(Box::new(again.clone())));
    watched
        .pair
        .client
        .authenticate(watched.pair.now, again)
        .unwrap();
    watched.look();
    let mut accepting = of_connect();
    accepting.response_information = Some(text("responses"));
    watched.sends(accepted(false, accepting));
    watched.pair.writable = false; // so do PUBLISH packets
    for qos in [AtMostOnce, AtLeastOnce, ExactlyOnce] {
        let pair = &mut watched.pair;
        let large = Publish {
            payload: Bytes::from(MARKER.repeat(1000)),
            ..publish(qos)
        };
        pair.client.publish(pair.now, publish(qos)).unwrap();
        pair.client.publish(pair.now, large).unwrap();
        pair.client.request(pair.now, publish(qos)).unwrap();
        watched.look();
    }
    watched.pair.writable = true;
    watched.pair.pump();
    watched.look();
    for (packet_id, qos) in [(0, AtMostOnce), (1, AtLeastOnce), (2, ExactlyOnce)] {
        watched.sends(Packet::Publish(received(qos, packet_id)));
    }
    watched.pair.cut();
    watched.look();
    let session = watched.store.session(watched.store.entries.len());
    look(&session);
    look(&watched.pair.client);
}

/// Messages that wait for room, and what came behind them.
#[test]
fn a_client_that_holds_back_input_shows_no_payload() {
    let mut options = options(V5);
    options.incoming = QueueOptions {
        limit: Some(1),
        ..QueueOptions::default()
    };
    let mut watched = Watched::new(Pair::connected(options));
    for _ in 0..5 {
        watched.sends(Packet::Publish(received(AtMostOnce, 0)));
    }
    assert!(watched.pair.client.input_paused());
}

/// Messages of a session whose queues nobody has asked for yet.
#[test]
fn a_client_that_holds_unclaimed_messages_shows_no_payload() {
    let mut watched = Watched::new(Pair::unclaimed(resuming(V5), Session::default()));
    watched.pair.connect();
    watched.pair.accept(true, Properties::default());
    watched.sends(Packet::Publish(received(AtLeastOnce, 1)));
    look(&watched.pair.client);
}

#[test]
fn a_reason_string_that_repeats_a_secret_is_left_out() {
    let reason = ReasonCode::NotAuthorized;
    let refusal = Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason,
        properties: echo(),
    }));
    let farewell = Packet::Disconnect(Box::new(Disconnect {
        reason,
        properties: echo(),
    }));
    let refused_message = Packet::PubAck(Ack {
        packet_id: id(1),
        reason,
        properties: Some(Box::new(echo())),
    });
    let answers_subscribe = Packet::SubAck(Box::new(SubAck {
        packet_id: id(1),
        properties: echo(),
        reasons: vec![reason],
    }));
    for from_server in [refusal, farewell, refused_message, answers_subscribe] {
        let mut options = options(V5);
        options.password = Some(secret());
        let mut watched = Watched::new(Pair::new(options));
        watched.pair.connect();
        if !matches!(from_server, Packet::ConnAck(_)) {
            watched.pair.accept(false, Properties::default());
            if matches!(from_server, Packet::SubAck(_)) {
                let subscribe = Subscribe {
                    filters: vec![(filter("a"), at(AtMostOnce))],
                    properties: Properties::default(),
                    queue: ferromqtt_proto::QueueId::DEFAULT,
                };
                let pair = &mut watched.pair;
                pair.client.subscribe(pair.now, subscribe).unwrap();
                pair.pump();
            } else {
                watched.pair.publish("t", "x", AtLeastOnce);
            }
        }
        let events = format!("{:?}", watched.sends(from_server.clone()));
        assert!(events.contains("left out"), "{from_server:?}: {events}");
    }
}

/// An enhanced authentication may take several steps, each with a secret of its own.
#[test]
fn a_reason_string_that_repeats_an_earlier_step_of_an_authentication_is_left_out() {
    let mut options = options(V5);
    options.properties.authentication_method = Some(text("steps"));
    let mut pair = Pair::new(options);
    pair.connect();
    let step = |data: &str| Auth {
        reason: ReasonCode::ContinueAuthentication,
        properties: Properties {
            authentication_method: Some(text("steps")),
            authentication_data: Some(data.to_owned().into()),
            ..Properties::default()
        },
    };
    for (question, answer) in [("password?", "hunter2-hunter2"), ("code?", "483920")] {
        pair.server_sends(Packet::Auth(Box::new(step(question))));
        pair.client.authenticate(pair.now, step(answer)).unwrap();
        pair.pump();
    }
    pair.server_sends(Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason: ReasonCode::NotAuthorized,
        properties: Properties {
            reason_string: Some(text("wrong password hunter2-hunter2")),
            ..Properties::default()
        },
    })));
    let events = format!("{:?}", pair.events());
    assert!(events.contains("left out"), "{events}");
    assert!(!events.contains("hunter2"), "{events}");
}

/// What it says otherwise is as the server said it.
#[test]
fn any_other_reason_string_is_kept() {
    let mut options = options(V5);
    options.password = Some(secret());
    let mut pair = Pair::new(options);
    pair.connect();
    let properties = Properties {
        reason_string: Some(text("wrong password")),
        ..Properties::default()
    };
    let kept = Box::new(properties.clone());
    let reason = ReasonCode::NotAuthorized;
    pair.server_sends(Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason,
        properties,
    })));
    let cause = ConnectionError::Refused {
        reason,
        properties: kept.into(),
    };
    let found = (pair.events().iter())
        .any(|event| matches!(event, Event::Disconnected { cause: it, .. } if *it == cause));
    assert!(found);
    look(&pair.client);
}

/// Public types that can hold neither a payload nor what authenticates.
const WITHOUT_SECRETS: &str = "
    ServerLimits PacketId ProtocolVersion ReasonCode RetainHandling SubscriptionOptions SubscriptionIdentifiers TopicAlias
    AcknowledgeError AuthError DecodeError DisconnectError InvalidOptions InvalidPublish StringError InvalidSubscribe FilterRefusal TopicError
    PropertyError PropertyKind PropertyProblem PropertyRow Contest InvalidTopic TemplateError TemplateProblem TopicParams
    TopicTemplate TopicTemplates
    Direction PacketRecord PublishRecord
    OpId CleanStart OnSessionLost OutgoingLimits OutgoingPolicy Reconnect ServerChoice Acknowledge DeliveryId Overflow QueueId
    Slip Utf8String TopicFilter Stats AckLatency Unacknowledged Progress TcpProgress TransportRequest PublishRef Repeat Repeats
    Unreported JournalEntry QuarantineReason
    ProfileFigure ProfileEvidence KeepAliveBounds PortProtocol ProfileConflict ProfilePorts ProfileRow ServerProfile ServerReach ProfileSource
    TopicLimit UncountedLevels UnknownProfile
    Client Options Whole PacketLimits UserProperties UserPropertiesIter SubscribeFilters SubscribeFiltersIter UnsubscribeFilters
    UnsubscribeFiltersIter FilterTree NameTree InOrder IdHasher
";

#[test]
fn every_public_type_is_known() {
    let test = format!("{}{WITHOUT_SECRETS}", include_str!("secrets.rs"));
    knows_all_exports(include_str!("../../src/lib.rs"), &test);
    knows_all_exports(include_str!("../../src/packet/mod.rs"), &test);
}
