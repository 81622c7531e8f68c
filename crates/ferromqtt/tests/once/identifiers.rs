//! Handlers without a key: messages of QoS 2 are known by their Packet Identifiers.

use std::time::Duration;

use ferromqtt::{
    CleanStart, ConnectError, Connection, DeclaredSubscription, ExactlyOnce, InvalidExactlyOnce,
    Message, OnFailure, OnceError, OptionsError, ProtocolVersion, QoS, SubscribeError,
};
use ferromqtt_proto::packet::PacketType;
use ferromqtt_testing::TestBroker;
use rusqlite::Transaction;
use tokio::time::sleep;

use crate::lives::Lives;
use crate::store::column;
use crate::world::*;

const VERSIONS: [ProtocolVersion; 2] = [ProtocolVersion::V311, ProtocolVersion::V5];

/// MQTT-4.3.3-10; 3.1.1: MQTT-4.3.3-2. Equal payloads are of messages that have nothing to do with each other.
#[test]
fn a_message_is_known_by_its_identifier_until_the_server_lets_go_of_it() {
    for version in VERSIONS {
        play(async {
            let world = Lives::new("known", version);
            let held = world.broker.sends(PacketType::PubRel).always().hold();
            let lived = world.live(async |_| {
                world.publish(&["soup", "soup"]).await;
                assert_eq!(world.orders(), ["soup", "soup"]);
                assert_eq!(world.rows(), ["1", "2"]);
                assert_eq!(world.count(PacketType::PubRec), 2);
                held.remove();
                settled().await;
                assert!(world.rows().is_empty());
                assert_eq!(world.count(PacketType::PubComp), 2);
                world.publish(&["bread"]).await;
                assert_eq!(world.orders(), ["soup", "soup", "bread"]);
                assert!(world.unfinished().is_empty());
            });
            lived.await.unwrap();
        });
    }
}

#[test]
fn a_message_whose_pubrec_was_lost_with_the_program_is_handled_once() {
    for version in VERSIONS {
        play(async {
            let world = Lives::new("pubrec", version);
            let lost = world.broker.receives(PacketType::PubRec).always().lose();
            let lived = world.live(async |_| {
                world.publish(&["soup"]).await;
                assert_eq!(
                    (world.orders(), world.rows()),
                    (vec!["soup".into()], vec!["1".into()])
                );
            });
            lived.await.unwrap();
            lost.remove();
            let lived = world.live(async |_| {
                world.publish(&["bread"]).await;
                assert_eq!(world.orders(), ["soup", "bread"]);
                assert!(world.rows().is_empty());
                assert!(world.unfinished().is_empty());
            });
            lived.await.unwrap();
        });
    }
}

/// It was killed between PUBREC and PUBREL. Nothing brings the message again. MQTT-4.3.3-11.
#[test]
fn pubcomp_waits_until_the_row_of_an_earlier_program_is_deleted() {
    for version in VERSIONS {
        play(async {
            let world = Lives::new("pubcomp", version);
            let lost = world.broker.sends(PacketType::PubRel).always().lose();
            let lived = world.live(async |_| world.publish(&["soup"]).await);
            lived.await.unwrap();
            assert_eq!(world.rows(), ["1"]);
            lost.remove();
            let held = world.broker.sends(PacketType::PubRel).always().hold();
            let lived = world.live(async |_| {
                world.lock();
                held.remove();
                std::future::pending::<()>().await;
            });
            let error = lived.await.unwrap_err();
            assert!(matches!(error, OnceError::Store { .. }), "{error}");
            assert_eq!(world.count(PacketType::PubComp), 0);
            world.unlock();
            let lived = world.live(async |_| {
                assert_eq!(world.orders(), ["soup"]);
                assert!(world.rows().is_empty());
                assert_eq!(world.count(PacketType::PubComp), 1);
                world.publish(&["bread"]).await;
                assert_eq!(world.orders(), ["soup", "bread"]);
            });
            lived.await.unwrap();
        });
    }
}

#[test]
fn a_message_that_comes_again_since_the_connection_was_lost_is_handled_once() {
    play(async {
        let world = Lives::new("lost-connection", ProtocolVersion::V5);
        let mut seen = Vec::new();
        let handle = async |message: &Message, db: &mut Transaction<'_>| {
            seen.push(message.dup);
            insert(message, db)?;
            world.broker.kill("worker");
            settled().await; // there is another connection before this is committed
            Ok(())
        };
        let lived = world.live_with(ExactlyOnce::new("kitchen"), handle, async |_| {
            settled().await;
            world.publish(&["soup"]).await;
            sleep(Duration::from_secs(20)).await;
            assert_eq!(world.orders(), ["soup"]);
            assert!(world.rows().is_empty());
            assert!(world.unfinished().is_empty());
        });
        lived.await.unwrap();
        assert_eq!(seen, [false]);
    });
}

#[test]
fn the_first_connection_waits_for_its_record_and_ends_with_a_database_that_fails() {
    play(async {
        let world = Lives::new("no-table", ProtocolVersion::V5);
        world.look.execute_batch("DROP TABLE handled").unwrap();
        let error = world.live(async |_| ()).await.unwrap_err();
        assert!(matches!(error, OnceError::Store { .. }), "{error}");
        assert!(world.broker.connects().is_empty());
    });
}

#[test]
fn handlers_of_one_message_have_a_row_each_and_pubcomp_waits_for_both() {
    play(async {
        let world = Lives::new("two", ProtocolVersion::V5);
        for works in [false, true] {
            let all = DeclaredSubscription::new("#").exactly_once();
            let options = world.options().subscription(all);
            let connection = Connection::start(options).await.unwrap();
            let client = connection.client();
            let (mut store, mut other_store) = (world.store(), world.store());
            let handle = async |message: &Message, db: &mut Transaction<'_>| insert(message, db);
            let other_handle = async |message: &Message, db: &mut Transaction<'_>| match works {
                true => insert(message, db),
                false => Err(Unknown("no such dish".to_owned())),
            };
            let (mut once, mut other) = (ExactlyOnce::new("kitchen"), ExactlyOnce::new("hall"));
            let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
            let others = other.run_by_identifier(&client, "#", &mut other_store, other_handle);
            let body = async {
                settled().await;
                if !works {
                    world.publish(&["soup"]).await;
                    std::future::pending::<()>().await;
                }
                settled().await;
            };
            let failed = async {
                let ended = others.await;
                settled().await;
                ended
            };
            tokio::select! {
                _ = handled => panic!("the handler has ended"),
                ended = failed => {
                    assert!(!works && matches!(ended, Err(OnceError::Handler { tries: 3, .. })));
                    assert_eq!((world.orders(), world.rows()), (vec!["soup".into()], vec!["1".into()]));
                    assert_eq!(world.count(PacketType::PubRec), 0);
                }
                () = body => assert!(works),
            }
            connection.disconnect().await.unwrap();
            settled().await;
        }
        assert_eq!(world.orders(), ["soup", "soup"]);
        assert!(column(&world.look, "SELECT message_key FROM handled").is_empty());
        assert!(world.unfinished().is_empty());
    });
}

#[test]
fn a_dead_letter_has_no_key_and_is_not_handled_again() {
    play(async {
        let world = Lives::new("dead-letter", ProtocolVersion::V5);
        let mut lost = Some(world.broker.receives(PacketType::PubRec).always().lose());
        for is_first in [true, false] {
            let once = ExactlyOnce::new("kitchen").on_failure(OnFailure::DeadLetter);
            let handle = async |_: &Message, _: &mut Transaction<'_>| {
                Err(Unknown("no such dish".to_owned()))
            };
            let lived = world.live_with(once, handle, async |_| {
                settled().await;
                if is_first {
                    world.publish(&["stone"]).await;
                }
            });
            lived.await.unwrap();
            if let Some(lost) = lost.take() {
                lost.remove();
            }
        }
        let keys = "SELECT coalesce(message_key, 'none') FROM dead_letters";
        assert_eq!(column(&world.look, keys), ["none"]);
        assert!(world.unfinished().is_empty());
    });
}

#[test]
fn a_message_of_qos_1_is_handled_without_a_row() {
    play(async {
        let world = Lives::new("qos-1", ProtocolVersion::V5);
        let lived = world.live(async |_| {
            publish(&world.broker, QoS::AtLeastOnce, &["soup", "bread"]).await;
            assert_eq!(world.orders(), ["soup", "bread"]);
            assert!(world.rows().is_empty());
            assert_eq!(world.count(PacketType::PubAck), 2);
        });
        lived.await.unwrap();
    });
}

#[test]
fn a_connection_that_is_ended_lets_the_handler_return_with_its_batch_committed() {
    play(async {
        let world = Lives::new("leaving", ProtocolVersion::V5);
        let connection = Connection::start(world.options()).await.unwrap();
        let client = connection.client();
        let mut store = world.store();
        let handle = async |message: &Message, db: &mut Transaction<'_>| {
            insert(message, db)?;
            sleep(Duration::from_secs(20)).await;
            Ok::<_, Unknown>(())
        };
        let mut once = ExactlyOnce::new("kitchen");
        let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
        let leave = async {
            settled().await;
            world.publish(&["soup"]).await;
            connection.disconnect().await.unwrap();
            assert!(world.orders().is_empty(), "it is at work");
        };
        let (handled, ()) = tokio::join!(handled, leave);
        handled.unwrap();
        assert_eq!(world.orders(), ["soup"]);
    });
}

#[test]
fn a_stream_of_a_handler_is_for_its_handler_alone_and_only_once() {
    play(async {
        let world = Lives::new("taken", ProtocolVersion::V5);
        let other = DeclaredSubscription::new("others").qos(QoS::ExactlyOnce);
        let connection = Connection::start(world.options().subscription(other))
            .await
            .unwrap();
        let client = connection.client();
        let refused = client.declared("orders").await.unwrap_err();
        assert!(matches!(refused, SubscribeError::NotDeclared(_)));
        let mut store = world.store();
        let mut once = ExactlyOnce::new("kitchen");
        let handle = async |message: &Message, db: &mut Transaction<'_>| insert(message, db);
        let refused = once
            .run_by_identifier(&client, "others", &mut store, handle)
            .await;
        assert!(matches!(refused, Err(OnceError::NotDeclared { .. })));
        let refused = once
            .run_by_identifier(&client, "a#", &mut store, handle)
            .await;
        assert!(matches!(refused, Err(OnceError::Subscribe { .. })));
        let mut second = once.clone();
        let mut second_store = world.store();
        let handled = once.run_by_identifier(&client, "orders", &mut store, handle);
        let again = async {
            let _others = client.declared("others").await.unwrap();
            let again = second.run_by_identifier(&client, "orders", &mut second_store, handle);
            assert!(matches!(again.await, Err(OnceError::NotDeclared { .. })));
        };
        tokio::select! {
            _ = handled => panic!("the handler has ended"),
            () = again => {}
        }
    });
}

#[test]
fn what_identifiers_are_not_enough_for_is_refused_before_anything_is_sent() {
    play(async {
        let broker = TestBroker::new();
        let options =
            |subscription| lasting(&broker, ProtocolVersion::V5).subscription(subscription);
        let orders = || DeclaredSubscription::new("orders").exactly_once();
        let shared = DeclaredSubscription::new("$share/kitchen/orders").exactly_once();
        let refused = [
            (
                options(orders().qos(QoS::AtLeastOnce)),
                InvalidExactlyOnce::QoS,
            ),
            (
                options(orders().and("others", QoS::AtMostOnce)),
                InvalidExactlyOnce::QoS,
            ),
            (options(shared), InvalidExactlyOnce::Shared),
            (
                options(orders()).clean_start(CleanStart::FirstOnly),
                InvalidExactlyOnce::Session,
            ),
            (
                options(orders()).session_expiry_interval(Duration::ZERO),
                InvalidExactlyOnce::Session,
            ),
            (
                options(orders()).protocol(ProtocolVersion::V31),
                InvalidExactlyOnce::Version,
            ),
        ];
        for (options, expected) in refused {
            let error = Connection::start(options).await.unwrap_err();
            assert_eq!(error, refusal(expected));
        }
        let error = Connection::open(options(orders())).await.unwrap_err();
        assert_eq!(error, refusal(InvalidExactlyOnce::Waits));
        assert!(broker.connects().is_empty());
    });
}

fn refusal(refused: InvalidExactlyOnce) -> ConnectError {
    ConnectError::Options(OptionsError::ExactlyOnce(refused))
}
