//! `TestBroker::listen`: the client reaches the broker over each kind of socket, by the URL that it gives.

use ferromqtt::{ConnectError, Connection, Options, QoS, TlsOptions};
use ferromqtt_testing::{Listen, Listening, TestBroker};

use crate::{connect, in_time};

fn options(listening: &Listening) -> Options {
    let options = Options::from_url(listening.url()).unwrap().reconnect(None);
    match listening.ca() {
        Some(ca) => options.tls(TlsOptions::new().ca_pem(ca.to_owned())),
        None => options,
    }
}

/// Larger than any buffer on the way, so that both sides wait for each other.
const LARGE: usize = 3_000_000;

/// MQTT-6.0.0-1, MQTT-6.0.0-2, MQTT-6.0.0-3, MQTT-6.0.0-4 over WebSocket; all kinds serve one broker at the same time.
#[tokio::test]
async fn each_kind_of_socket_leads_to_the_same_broker() {
    in_time(async {
        let broker = TestBroker::new();
        let path = std::env::temp_dir().join(format!("ferromqtt listen {}", std::process::id()));
        let kinds = [
            (Listen::tcp(), "mqtt://127.0.0.1:"),
            (Listen::tls(), "mqtts://127.0.0.1:"),
            (Listen::websocket(), "ws://127.0.0.1:"),
            (Listen::websocket().with_tls(), "wss://127.0.0.1:"),
            (Listen::unix(&path), "mqtt+unix:///"),
            (Listen::tcp(), "mqtt://127.0.0.1:"),
        ];
        let in_memory = connect(&broker).await;
        let mut messages = in_memory.client().subscribe("t/#").await.unwrap();
        for (number, (kind, url)) in kinds.into_iter().enumerate() {
            let listening = broker.listen(kind).await.unwrap();
            assert!(listening.url().starts_with(url), "{}", listening.url());
            let connection = Connection::open(options(&listening)).await.unwrap();
            let client = connection.client();
            let topic = format!("t/{number}");
            let mut own = client.subscribe(&*topic).await.unwrap();
            for payload in [vec![1; 10], vec![2; LARGE]] {
                let publish = client.publish(&*topic, payload.clone());
                publish.qos(QoS::ExactlyOnce).await.unwrap();
                assert_eq!(own.next().await.unwrap().payload, payload);
                assert_eq!(messages.next().await.unwrap().payload, payload);
            }
            connection.disconnect().await.unwrap();
        }
        in_memory.disconnect().await.unwrap();
        assert!(path.exists());
        broker.stop().await;
        assert!(!path.exists(), "the socket is removed");
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_stops_ends_all_its_connections_and_listens_no_more() {
    in_time(async {
        let broker = TestBroker::new();
        let mut held = Vec::new();
        for kind in [Listen::tcp(), Listen::tls(), Listen::websocket()] {
            let listening = broker.listen(kind).await.unwrap();
            let connection = Connection::open(options(&listening)).await.unwrap();
            let messages = connection.client().subscribe("t").await.unwrap();
            held.push((listening, connection, messages));
        }
        broker.stop().await;
        for (listening, _connection, mut messages) in held {
            assert!(messages.next().await.is_none());
            Connection::open(options(&listening)).await.unwrap_err();
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_is_not_served() {
    in_time(async {
        let broker = TestBroker::new();
        let listening = broker.listen(Listen::tls()).await.unwrap();
        let other = TestBroker::new().listen(Listen::tls()).await.unwrap();
        assert_ne!(listening.ca(), other.ca());
        let wrong = TlsOptions::new().ca_pem(other.ca().unwrap().to_owned());
        let options = Options::from_url(listening.url()).unwrap().tls(wrong);
        let error = Connection::open(options).await.unwrap_err();
        assert!(matches!(error, ConnectError::Connection { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!(broker.stats().connections, 0);
    })
    .await;
}
