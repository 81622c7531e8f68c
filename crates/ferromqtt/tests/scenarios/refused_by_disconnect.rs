//! A server that answers a message by ending the connection.

use std::collections::BTreeMap;
use std::time::Duration;

use ferromqtt::{Connection, ConnectionEvent, Options, PublishError, QoS, ReasonCode, Reconnect};
use ferromqtt_proto::packet::{Disconnect, Packet};
use tokio::net::TcpListener;

use crate::in_time;
use crate::server::Server;

/// How often each payload came.
type Seen = BTreeMap<Vec<u8>, usize>;

/// Accepts one connection after another of one session, acknowledges QoS 1, and disconnects for the payload `bad`. Ends with
/// the client.
async fn serve(listener: TcpListener) -> Seen {
    let mut seen = Seen::new();
    let mut session_present = false;
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut server, _) = Server::accept(stream, session_present).await;
        session_present = true;
        loop {
            match server.next().await {
                Some(Packet::Publish(publish)) => {
                    *seen.entry(publish.payload.to_vec()).or_default() += 1;
                    if publish.payload == "bad" {
                        let disconnect = Disconnect::because(ReasonCode::PayloadFormatInvalid);
                        server.send(&Packet::Disconnect(Box::new(disconnect))).await;
                        break;
                    }
                    server.puback(publish.packet_id, ReasonCode::Success).await;
                }
                Some(Packet::Disconnect(_)) => return seen,
                Some(other) => panic!("{other:?}"),
                None => break,
            }
        }
    }
}

/// The message was resent forever, and no other message arrived.
#[tokio::test]
async fn the_message_is_rejected_and_all_others_arrive() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(serve(listener));
        let options = Options::new("127.0.0.1", port).reconnect(Reconnect {
            initial_delay: Duration::from_millis(4),
            ..Reconnect::default()
        });
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut events = client.events();
        let publish = |payload: &'static str| {
            (client.publish("t", payload).qos(QoS::AtLeastOnce)).into_future()
        };
        let (bad, good, later) = tokio::join!(publish("bad"), publish("good"), publish("later"));
        let Err(PublishError::Rejected { reason, .. }) = bad else {
            panic!("{bad:?}");
        };
        assert_eq!(reason, ReasonCode::PayloadFormatInvalid);
        good.unwrap();
        later.unwrap();
        publish("last").await.unwrap();
        let stats = client.stats();
        assert_eq!((stats.suspected, stats.refused_by_disconnect), (1, 1));
        assert_eq!(stats.connections, 4, "and the last one lasts");
        let mut reported = Vec::new();
        while reported.len() < 2 {
            let event = events.next().await.unwrap();
            if let ConnectionEvent::MessageSuspected { .. }
            | ConnectionEvent::MessageRefused { .. } = event
            {
                reported.push(event);
            }
        }
        let topic = || "t".try_into().unwrap();
        assert_eq!(
            reported,
            [
                ConnectionEvent::MessageSuspected {
                    topic: topic(),
                    messages: 3,
                    ends: 2,
                    reason: Some(reason),
                },
                ConnectionEvent::MessageRefused {
                    topic: topic(),
                    reason,
                },
            ]
        );
        connection.disconnect().await.unwrap();
        let seen = serving.await.unwrap();
        assert_eq!(seen[&b"bad"[..]], 3);
    })
    .await;
}
