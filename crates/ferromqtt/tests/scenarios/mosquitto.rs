//! A real broker's TLS (OpenSSL), WebSocket (libwebsockets) and Unix socket.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use ferromqtt::{Connection, Options, QoS, TlsOptions};
use tokio::task::spawn_blocking;

use crate::certificates::Authority;
use crate::in_time;

const LARGE: usize = 1_000_000;

/// This mosquitto sends 4 KiB each 100 ms over WebSocket, whatever the client does.
const LARGE_FOR_WEBSOCKET: usize = 10_000;

/// The broker's process, and the folder of its files.
struct Mosquitto {
    process: Child,
    folder: PathBuf,
    tls_port: u16,
    websocket_port: u16,
    secure_websocket_port: u16,
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

impl Mosquitto {
    /// Returns when it says that it is running.
    fn start(authority: &Authority) -> Self {
        let folder =
            std::env::temp_dir().join(format!("ferromqtt-mosquitto-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = authority.issue("127.0.0.1");
        for (name, content) in [
            ("ca.pem", &authority.pem()),
            ("server.pem", &server.chain),
            ("server.key", &server.key),
        ] {
            std::fs::write(folder.join(name), content).unwrap();
        }
        let [tls_port, websocket_port, secure_websocket_port] = [(); 3].map(|()| free_port());
        let at = folder.display();
        let tls =
            format!("cafile {at}/ca.pem\ncertfile {at}/server.pem\nkeyfile {at}/server.key\n");
        let configuration = format!(
            "user root\nallow_anonymous true\nlog_dest stderr\nlog_type all\n\
             listener {tls_port} 127.0.0.1\n{tls}require_certificate true\n\
             listener {websocket_port} 127.0.0.1\nprotocol websockets\n\
             listener {secure_websocket_port} 127.0.0.1\nprotocol websockets\n{tls}\
             listener 0 {at}/socket\n"
        );
        std::fs::write(folder.join("mosquitto.conf"), configuration).unwrap();
        let search = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        let mut process = Command::new("mosquitto")
            .env("PATH", search)
            .arg("-c")
            .arg(folder.join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mosquitto starts; install it with: apt-get install mosquitto");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("running") {
            let read = log.read_line(&mut told).unwrap();
            assert!(read > 0, "mosquitto did not start:\n{told}");
        }
        // Its log is read on, so that it never waits for that.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            folder,
            tls_port,
            websocket_port,
            secure_websocket_port,
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
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
        let (authority, broker) = spawn_blocking(move || {
            let broker = Mosquitto::start(&authority);
            (authority, broker)
        })
        .await
        .unwrap();
        let tls = TlsOptions::new().ca_pem(authority.pem());
        let mutual = tls.clone().client_certificate_pem(own.chain, own.key);
        let url = |scheme: &str, port: u16| {
            Options::from_url(&format!("{scheme}://127.0.0.1:{port}")).unwrap()
        };
        works(url("mqtts", broker.tls_port).tls(mutual), LARGE).await;
        works(url("ws", broker.websocket_port), LARGE_FOR_WEBSOCKET).await;
        works(
            url("wss", broker.secure_websocket_port).tls(tls.clone()),
            LARGE_FOR_WEBSOCKET,
        )
        .await;
        let socket = broker.folder.join("socket");
        works(Options::unix(socket.to_str().unwrap()), LARGE).await;

        let without = url("mqtts", broker.tls_port).tls(tls).reconnect(None);
        let text = Connection::open(without).await.unwrap_err().to_string();
        assert!(text.contains("client certificate"), "{text}");
    })
    .await;
}
