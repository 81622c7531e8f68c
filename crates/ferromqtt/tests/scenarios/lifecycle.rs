//! Scopes and connections over TCP: how they begin, and how they end.

use ferromqtt::{
    ConnectError, Connection, ConnectionError, ConnectionEvent, Error, Options, OptionsError, QoS,
    ReasonCode, TransportError,
};
use ferromqtt_proto::packet::Packet;
use ferromqtt_testing::TestBroker;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::in_time;
use crate::server::Server;

async fn listen() -> (TcpListener, Options) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, Options::new("127.0.0.1", port))
}

async fn accept(listener: &TcpListener) -> Server<TcpStream> {
    let (stream, _) = listener.accept().await.unwrap();
    let (server, connect) = Server::accept(stream, false).await;
    assert!(connect.clean_start);
    server
}

#[tokio::test]
async fn a_scope_disconnects_when_its_program_succeeds() {
    in_time(async {
        let (listener, options) = listen().await;
        let (result, ()) = tokio::join!(
            ferromqtt::scope(options, async |client| {
                client.publish("t", "last words").await?;
                Ok::<_, Error>(7)
            }),
            async {
                let mut server = accept(&listener).await;
                assert_eq!(server.publish().await.payload, "last words");
                assert_eq!(server.disconnected().await.reason, ReasonCode::Success);
            }
        );
        assert_eq!(result, Ok(7));
    })
    .await;
}

#[tokio::test]
async fn a_scope_disconnects_when_its_program_fails() {
    in_time(async {
        let (listener, options) = listen().await;
        let (result, _) = tokio::join!(
            ferromqtt::scope(options, async |client| {
                client.publish("no/wildcards/+", "").await?;
                Ok::<_, Error>(())
            }),
            async { accept(&listener).await.disconnected().await }
        );
        assert!(matches!(result, Err(Error::Publish(_))), "{result:?}");
    })
    .await;
}

#[tokio::test]
async fn a_scope_disconnects_in_the_background_when_it_is_cancelled() {
    in_time(async {
        let (listener, options) = listen().await;
        let (entered, inside) = oneshot::channel();
        let task = tokio::spawn(ferromqtt::scope(options, async move |client| {
            let _ = entered.send(());
            Err::<(), Error>(client.closed().await.into())
        }));
        let mut server = accept(&listener).await;
        inside.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        server.disconnected().await;
    })
    .await;
}

#[tokio::test]
async fn a_scope_disconnects_in_the_background_when_its_program_panics() {
    in_time(async {
        let (listener, options) = listen().await;
        let task = tokio::spawn(ferromqtt::scope(options, async |client| {
            assert!(!client.is_connected(), "this panic is the test's");
            Ok::<_, Error>(())
        }));
        accept(&listener).await.disconnected().await;
        assert!(task.await.unwrap_err().is_panic());
    })
    .await;
}

#[tokio::test]
async fn a_scope_whose_connection_had_ended_returns_the_value_of_its_program() {
    in_time(async {
        let (listener, options) = listen().await;
        let (result, ()) = tokio::join!(
            ferromqtt::scope(options.reconnect(None), async |client| Ok(client
                .closed()
                .await)),
            async { drop(accept(&listener).await) }
        );
        let cause = ConnectionError::Transport(TransportError::EndOfStream);
        assert_eq!(result, Ok(cause));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_scope_returns_the_value_of_a_program_that_drops_a_stream_while_the_connection_is_lost() {
    in_time(async {
        let broker = TestBroker::new();
        let result = ferromqtt::scope(crate::options(&broker), async |client| {
            let mut events = client.events();
            let _messages = client.subscribe("a").await?;
            client.publish("a", "b").qos(QoS::AtLeastOnce).await?;
            broker.stop().await;
            while !matches!(
                events.next().await,
                Some(ConnectionEvent::Disconnected { .. })
            ) {}
            Ok(7)
        })
        .await;
        assert_eq!(result, Ok(7));
    })
    .await;
}

/// Closing a socket over unread input resets it, and what was written last may be lost.
#[tokio::test]
async fn the_client_reads_until_the_server_has_closed_its_side_too() {
    in_time(async {
        let (listener, options) = listen().await;
        let connection = tokio::spawn(Connection::open(options));
        let mut server = accept(&listener).await;
        let connection = connection.await.unwrap().unwrap();
        let message = Packet::Publish(ferromqtt_proto::packet::PublishPacket {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: "t".try_into().unwrap(),
            packet_id: None,
            properties: None,
            payload: vec![0; 100_000].into(),
        });
        let ending = tokio::spawn(connection.disconnect());
        server.disconnected().await;
        for _ in 0..100 {
            server.send(&message).await; // fails once the client's socket is gone
        }
        drop(server);
        ending.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_refusal_is_told_with_its_reason() {
    in_time(async {
        let (listener, options) = listen().await;
        let opening = tokio::spawn(Connection::open(options));
        let (stream, _) = listener.accept().await.unwrap();
        let mut server = Server::new(stream);
        server.connect().await;
        let refusal = ferromqtt_proto::packet::ConnAck {
            session_present: false,
            reason: ReasonCode::BadUserNameOrPassword,
            properties: ferromqtt::Properties::default(),
        };
        server.send(&Packet::ConnAck(Box::new(refusal))).await;
        drop(server);
        let error = opening.await.unwrap().unwrap_err();
        let ConnectError::Connection {
            cause: ConnectionError::Refused { reason, .. },
            ..
        } = error
        else {
            panic!("refused, not {error:?}");
        };
        assert_eq!(reason, ReasonCode::BadUserNameOrPassword);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_in_the_error() {
    in_time(async {
        let (listener, options) = listen().await;
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Connection::open(options).await.unwrap_err().to_string();
        assert!(error.contains(&address), "{error}");
    })
    .await;
}

#[tokio::test]
async fn wrong_options_fail_before_anything_is_tried() {
    in_time(async {
        let (listener, options) = listen().await;
        let error = Connection::open(options.client_identifier("a\0"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Options(OptionsError::Text { .. })),
            "{error:?}"
        );
        let accepting = listener.accept();
        tokio::select! {
            biased;
            _ = accepting => panic!("a connection was made"),
            () = std::future::ready(()) => {}
        }
    })
    .await;
}
