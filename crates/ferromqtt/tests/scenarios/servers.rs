//! Several servers, referrals, and transports of one's own.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{
    ConnectError, Connection, Options, OptionsError, QoS, ReasonCode, Reconnect, Server, Utf8String,
};
use ferromqtt_testing::{BrokerOptions, TestBroker};
use tokio::net::{TcpListener, TcpStream};

use crate::{in_time, listening};

fn server(broker: &TestBroker) -> Server {
    Server::new(broker.host(), broker.port())
}

/// A server that nobody is.
async fn nobody() -> Server {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Server::new("127.0.0.1", listener.local_addr().unwrap().port())
}

fn reconnect() -> Reconnect {
    Reconnect {
        initial_delay: Duration::from_millis(4),
        ..Reconnect::default()
    }
}

#[tokio::test]
async fn the_next_server_is_tried_when_one_does_not_answer() {
    in_time(async {
        let broker = listening().await;
        let servers = [nobody().await, nobody().await, server(&broker)];
        let options = Options::new("unused", 1).servers(servers).reconnect(None);
        let connection = Connection::open(options).await.unwrap();
        assert!(connection.client().is_connected());
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_moves_to_the_next_server_with_its_subscriptions() {
    in_time(async {
        let (first, second) = (listening().await, listening().await);
        let options = Options::new("unused", 1)
            .servers([server(&first), server(&second)])
            .reconnect(reconnect());
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        first.stop().await;
        let publish = client.publish("t", "moved").qos(QoS::AtLeastOnce);
        publish.await.unwrap();
        assert_eq!(messages.next().await.unwrap().payload, "moved");
        assert_eq!(second.stats().connections, 1);
        connection.disconnect().await.unwrap();
        second.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_without_servers_is_refused() {
    let options = Options::new("unused", 1).servers([]);
    let error = Connection::open(options).await.unwrap_err();
    assert_eq!(error, ConnectError::Options(OptionsError::Servers(0)));
}

async fn referring_to(other: &TestBroker) -> TestBroker {
    let mut options = BrokerOptions::default();
    let reference = format!("{}:{}", other.host(), other.port());
    options.server_reference = Some(Utf8String::try_from(reference.as_str()).unwrap());
    let address = (IpAddr::from([127, 0, 0, 1]), 0).into();
    TestBroker::bind(address, options).await.unwrap()
}

/// Section 4.11.
#[tokio::test]
async fn a_server_reference_is_followed_if_the_application_says_so_and_told_otherwise() {
    in_time(async {
        let there = listening().await;
        let here = referring_to(&there).await;
        let options = Options::new(here.host(), here.port()).reconnect(None);
        let error = Connection::open(options.clone()).await.unwrap_err();
        let text = error.to_string().to_lowercase();
        assert!(text.contains("use another server"), "{text}");
        assert_eq!(there.stats().connections, 0);

        let following = options.follow_server_reference(true);
        let connection = Connection::open(following).await.unwrap();
        assert_eq!(there.stats().connections, 1);
        connection.disconnect().await.unwrap();
        here.stop().await;
        there.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_sent_away_goes_where_it_is_sent() {
    in_time(async {
        let (here, there) = (listening().await, listening().await);
        let options = Options::new(here.host(), here.port())
            .client_identifier("station")
            .follow_server_reference(true)
            .reconnect(reconnect());
        let connection = Connection::open(options).await.unwrap();
        let client = connection.client();
        let mut messages = client.subscribe("t").qos(QoS::AtLeastOnce).await.unwrap();
        let reference = format!("{}:{}", there.host(), there.port());
        let reference = Utf8String::try_from(reference.as_str()).unwrap();
        let reason = ReasonCode::UseAnotherServer;
        assert!(
            here.disconnect_client("station", reason, Some(reference))
                .unwrap()
        );
        let publish = client.publish("t", "there").qos(QoS::AtLeastOnce);
        publish.await.unwrap();
        assert_eq!(messages.next().await.unwrap().payload, "there");
        connection.disconnect().await.unwrap();
        here.stop().await;
        there.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_closure_is_a_transport_and_is_told_the_server() {
    in_time(async {
        let broker = listening().await;
        let address = (broker.host(), broker.port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let servers = ["mqtts://one:7", "ws://two/path"].map(|url| url.parse().unwrap());
        let options =
            Options::new("unused", 1)
                .servers(servers)
                .transport(move |server: Server| {
                    let first = server.host() == Some("one");
                    seen.lock().unwrap().push(server.to_string());
                    async move {
                        match first {
                            true => Err(std::io::Error::other("not this one")),
                            false => TcpStream::connect(address).await,
                        }
                    }
                });
        let connection = Connection::open(options).await.unwrap();
        connection.disconnect().await.unwrap();
        assert_eq!(
            *asked.lock().unwrap(),
            ["mqtts://one:7", "ws://two:80/path"]
        );
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn connections_come_from_the_address_bound_to() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = IpAddr::from([127, 0, 0, 2]);
        let options = Options::new("127.0.0.1", port)
            .bind_address(own)
            .reconnect(None);
        let opening = tokio::spawn(Connection::open(options));
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), own);
        drop(stream);
        opening.await.unwrap().unwrap_err();
        let other = IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
        let options = Options::new("127.0.0.1", port)
            .bind_address(other)
            .reconnect(None);
        let text = Connection::open(options).await.unwrap_err().to_string();
        assert!(text.contains("Options::bind_address"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn credentials_of_a_url_are_sent_and_not_shown() {
    in_time(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("mqtt://al%69ce:g%65heim%21@127.0.0.1:{port}");
        let options = Options::from_url(&url).unwrap().reconnect(None);
        let shown = format!("{options:?}");
        assert!(
            shown.contains("alice") && !shown.contains("heim"),
            "{shown}"
        );
        let opening = tokio::spawn(Connection::open(options));
        let (stream, _) = listener.accept().await.unwrap();
        let (mut server, connect) = crate::server::Server::accept(stream, false).await;
        assert_eq!(connect.user_name.as_deref(), Some("alice"));
        assert_eq!(connect.password.as_deref(), Some(&b"geheim!"[..]));
        let connection = opening.await.unwrap().unwrap();
        let served = async move { server.disconnected().await };
        let (ended, _) = tokio::join!(connection.disconnect(), served);
        ended.unwrap();
    })
    .await;
}
