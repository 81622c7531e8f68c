//! A real broker's TLS (OpenSSL), WebSocket (libwebsockets) and Unix socket.

use std::{fs, process};

use ferromqtt::{Connection, Options, ProtocolVersion, QoS, TlsOptions};
use tokio::task::spawn_blocking;

use crate::certificates::Authority;
use crate::in_time;
use crate::lasting_session::{Stream, jobs_published_meanwhile};
use crate::mosquitto_process::{Mosquitto, free_port};

const LARGE: usize = 1_000_000;

/// This mosquitto sends 4 KiB each 100 ms over WebSocket, whatever the client does.
const LARGE_FOR_WEBSOCKET: usize = 10_000;

/// A broker with a listener of each kind.
struct Ways {
    broker: Mosquitto,
    tls_port: u16,
    websocket_port: u16,
    secure_websocket_port: u16,
}

impl Ways {
    fn start(authority: &Authority) -> Self {
        let folder = std::env::temp_dir().join(format!("ferromqtt-mosquitto-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let server = authority.issue("127.0.0.1");
        for (name, content) in [
            ("ca.pem", &authority.pem()),
            ("server.pem", &server.chain),
            ("server.key", &server.key),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        let [tls_port, websocket_port, secure_websocket_port] = [(); 3].map(|()| free_port());
        let at = folder.display();
        let tls =
            format!("cafile {at}/ca.pem\ncertfile {at}/server.pem\nkeyfile {at}/server.key\n");
        let listeners = format!(
            "listener {tls_port} 127.0.0.1\n{tls}require_certificate true\n\
             listener {websocket_port} 127.0.0.1\nprotocol websockets\n\
             listener {secure_websocket_port} 127.0.0.1\nprotocol websockets\n{tls}\
             listener 0 {at}/socket\n"
        );
        Self {
            broker: Mosquitto::start(folder, &listeners),
            tls_port,
            websocket_port,
            secure_websocket_port,
        }
    }
}

async fn works(options: Options, largest: usize) {
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut messages = client.subscribe("t/#").qos(QoS::ExactlyOnce).await.unwrap();
    for size in [0, 1, 125, largest] {
        let payload = vec![7; size];
        let publish = client.publish("t/x", payload.clone()).qos(QoS::ExactlyOnce);
        publish.await.unwrap();
        assert_eq!(messages.next().await.unwrap().payload, payload);
    }
    connection.disconnect().await.unwrap();
}

#[tokio::test]
async fn mosquitto_is_reached_in_every_way_that_it_offers() {
    in_time(async {
        let authority = Authority::new("ours");
        let own = authority.issue("station-7");
        let (authority, ways) = spawn_blocking(move || {
            let ways = Ways::start(&authority);
            (authority, ways)
        })
        .await
        .unwrap();
        let tls = TlsOptions::new().ca_pem(authority.pem());
        let mutual = tls.clone().client_certificate_pem(own.chain, own.key);
        let url = |scheme: &str, port: u16| {
            Options::from_url(&format!("{scheme}://127.0.0.1:{port}")).unwrap()
        };
        works(url("mqtts", ways.tls_port).tls(mutual), LARGE).await;
        works(url("ws", ways.websocket_port), LARGE_FOR_WEBSOCKET).await;
        works(
            url("wss", ways.secure_websocket_port).tls(tls.clone()),
            LARGE_FOR_WEBSOCKET,
        )
        .await;
        let socket = ways.broker.folder().join("socket");
        works(Options::unix(socket.to_str().unwrap()), LARGE).await;

        let without = url("mqtts", ways.tls_port).tls(tls).reconnect(None);
        let text = Connection::open(without).await.unwrap_err().to_string();
        assert!(text.contains("client certificate"), "{text}");
    })
    .await;
}

/// MQTT-4.6.0-2. mosquitto sends what it has stored as soon as it has accepted the connection.
#[tokio::test]
async fn what_mosquitto_has_stored_comes_to_the_one_stream_of_a_program() {
    in_time(async {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("ferromqtt-mosquitto-stored-{port}"));
        let start = move || Mosquitto::start(folder, &format!("listener {port} 127.0.0.1\n"));
        let broker = spawn_blocking(start).await.unwrap();
        for version in [ProtocolVersion::V5, ProtocolVersion::V311] {
            for stream in [Stream::Late, Stream::Declared] {
                let options = Options::new("127.0.0.1", port).protocol(version);
                let jobs = jobs_published_meanwhile(options, stream).await;
                assert_eq!(jobs, Vec::from_iter(1..=100), "{version:?}, {stream:?}");
            }
        }
        drop(broker);
    })
    .await;
}
