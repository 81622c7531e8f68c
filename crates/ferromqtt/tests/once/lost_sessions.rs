//! Handlers without a key, when the server has lost the session, or may have.

use std::time::Duration;

use ferromqtt::{ExactlyOnce, Message, OnceError, ProtocolVersion, QoS};
use ferromqtt_proto::packet::{Packet, PacketType, PublishPacket};
use ferromqtt_proto::{PacketId, Utf8String};
use rusqlite::Transaction;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::lives::Lives;
use crate::world::*;

#[test]
fn rows_of_a_lost_session_are_deleted_and_hide_no_message_of_the_next() {
    play(async {
        let world = Lives::new("lost-session", ProtocolVersion::V5);
        let lost = world.broker.sends(PacketType::PubRel).always().lose();
        let lived = world.live(async |_| {
            world.publish(&["soup", "bread"]).await;
            assert_eq!(world.rows(), ["1", "2"]);
            world.broker.forget_session("worker");
            lost.remove();
            settled().await;
            assert!(world.rows().is_empty());
            world.publish(&["rice"]).await;
            assert_eq!(world.orders(), ["soup", "bread", "rice"]);
            assert_eq!(world.count(PacketType::PubRec), 3);
            assert!(world.rows().is_empty());
        });
        lived.await.unwrap();
    });
}

#[test]
fn nothing_makes_a_server_send_before_the_rows_of_a_lost_session_are_deleted() {
    play(async {
        let world = Lives::new("before-subscribe", ProtocolVersion::V5);
        world.broker.sends(PacketType::PubRel).always().lose();
        let lived = world.live(async |_| world.publish(&["soup"]).await);
        lived.await.unwrap();
        world.broker.forget_session("worker");
        let subscribed = world.count(PacketType::Subscribe);
        let held = world.broker.sends(PacketType::ConnAck).always().hold();
        let handle = async |message: &Message, db: &mut Transaction<'_>| insert(message, db);
        let lived = world.live_with(ExactlyOnce::new("kitchen"), handle, async |_| {
            sleep(Duration::from_secs(1)).await;
            world.lock();
            held.remove();
            std::future::pending::<()>().await;
        });
        let error = lived.await.unwrap_err();
        assert!(matches!(error, OnceError::Store { .. }), "{error}");
        assert_eq!(world.count(PacketType::Subscribe), subscribed);
        world.unlock();
        assert_eq!(world.rows(), ["1", "connecting"]);
    });
}

/// The server uses their identifiers for others, which a row would hide.
#[test]
fn messages_of_a_lost_session_that_wait_are_handled_and_leave_no_row() {
    play(async {
        let world = Lives::new("waiting", ProtocolVersion::V5);
        let may_go_on = Notify::new();
        let mut goes_on = false;
        let handle = async |message: &Message, db: &mut Transaction<'_>| {
            insert(message, db)?;
            if !goes_on {
                may_go_on.notified().await;
            }
            goes_on = true;
            Ok(())
        };
        let once = ExactlyOnce::new("kitchen").batch(1);
        let lived = world.live_with(once, handle, async |_| {
            settled().await;
            world.publish(&["soup", "bread"]).await;
            world.broker.forget_session("worker");
            settled().await;
            may_go_on.notify_one();
            settled().await;
            assert!(world.rows().is_empty());
            world.publish(&["rice", "salt"]).await;
            assert_eq!(world.orders(), ["soup", "bread", "rice", "salt"]);
            assert!(world.rows().is_empty());
            assert!(world.unfinished().is_empty());
        });
        lived.await.unwrap();
    });
}

/// What says that it was handled goes with the session, and so only behind the copy.
#[test]
fn a_copy_that_waits_while_its_session_is_lost_is_not_handled_again() {
    play(async {
        let world = Lives::new("copy", ProtocolVersion::V5);
        let handle = async |message: &Message, db: &mut Transaction<'_>| {
            insert(message, db)?;
            sleep(Duration::from_secs(20)).await;
            Ok(())
        };
        let once = ExactlyOnce::new("kitchen").batch(1);
        let lived = world.live_with(once, handle, async |_| {
            settled().await;
            world.publish(&["soup", "bread", "rice"]).await;
            world.broker.kill("worker"); // soup is at work, and comes again
            sleep(Duration::from_secs(18)).await; // CONNECT has waited for its end
            let again = world.broker.packets(PacketType::Publish);
            let again = again.iter().filter_map(|packet| match &packet.packet {
                Some(Packet::Publish(publish)) if &*packet.client == "worker" => Some(publish.dup),
                _ => None,
            });
            assert_eq!(again.collect::<Vec<_>>()[3..], [true; 3]);
            world.broker.forget_session("worker");
            sleep(Duration::from_secs(100)).await;
            assert_eq!(world.orders(), ["soup", "bread", "rice"]);
            assert!(world.rows().is_empty());
            world.publish(&["salt"]).await;
            sleep(Duration::from_secs(30)).await;
            assert_eq!(world.orders(), ["soup", "bread", "rice", "salt"]);
        });
        lived.await.unwrap();
    });
}

/// MQTT-3.3.1-1. The answer that the session was lost has died with a program.
#[test]
fn a_new_message_under_an_identifier_in_doubt_is_handled() {
    play(async {
        let world = Lives::new("doubt", ProtocolVersion::V5);
        let lost = world.broker.sends(PacketType::PubRel).always().lose();
        let lived = world.live(async |_| world.publish(&["soup"]).await);
        lived.await.unwrap();
        lost.remove();
        world.broker.forget_session("worker");
        let unanswered = world.broker.sends(PacketType::ConnAck).always().lose();
        // The server has a session now, and the program does not know.
        let lived = world.live(async |_| assert_eq!(world.rows(), ["1", "connecting"]));
        lived.await.unwrap();
        unanswered.remove();
        let lived = world.live(async |_| {
            world.publish(&["bread"]).await;
            assert_eq!(world.orders(), ["soup", "bread"]);
            assert_eq!(world.rows(), ["connecting"]);
            assert!(world.unfinished().is_empty());
        });
        lived.await.unwrap();
    });
}

/// Also where a server forgets to set DUP.
#[test]
fn without_a_doubt_an_identifier_on_record_is_that_of_its_message() {
    play(async {
        let world = Lives::new("no-doubt", ProtocolVersion::V5);
        world.broker.sends(PacketType::PubRel).always().lose();
        let lived = world.live(async |_| world.publish(&["soup"]).await);
        lived.await.unwrap();
        let lived = world.live(async |_| {
            let again = PublishPacket {
                dup: false,
                qos: QoS::ExactlyOnce,
                retain: false,
                topic: Utf8String::try_from("orders").unwrap(),
                packet_id: PacketId::new(1),
                properties: None,
                payload: "bread".into(),
            };
            world.broker.send("worker", &Packet::Publish(again));
            settled().await;
            assert_eq!(world.orders(), ["soup"]);
            assert_eq!(world.rows(), ["1"]);
        });
        lived.await.unwrap();
    });
}
