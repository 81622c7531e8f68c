//! Keep Alive over links that are slow, and over links that fall silent: plain, in TLS, and in WebSocket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ferromqtt::{Client, Connection, ConnectionError, Options, QoS};

use crate::slow_relay::SlowRelay;
use crate::{in_time, listening};

/// Seconds. Half of it is the shortest time that a PINGREQ waits for its answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

const RATE: usize = 1_000_000;

fn patient(options: Options) -> Options {
    options.keep_alive(KEEP_ALIVE).reconnect(None)
}

/// Longer than one and a half Keep Alives. In `parts`, for a server that takes a large message itself for silence.
async fn an_upload_completes(options: Options, parts: usize) {
    let connection = Connection::open(patient(options)).await.unwrap();
    let client = connection.client();
    let began = Instant::now();
    for _ in 1..parts {
        let part = vec![7; 6 * RATE / parts];
        client.publish("t", part).await.unwrap();
    }
    let last = client.publish("t", vec![7; 6 * RATE / parts]);
    last.qos(QoS::AtLeastOnce).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(5), "the link is slow");
    assert_eq!(client.stats().connections, 1);
    connection.disconnect().await.unwrap();
}

/// Whether it carries messages at that moment or not. How soon is checked in virtual time, in `src/tests/keep_alive.rs`; without
/// any Keep Alive the operating system would take a quarter of an hour.
async fn silence_is_noticed(options: Options, relay: &SlowRelay, publishes: bool) {
    let connection = Connection::open(patient(options)).await.unwrap();
    let client = connection.client();
    client
        .publish("t", "x")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    relay.fall_silent();
    let cause = tokio::select! {
        cause = client.closed() => cause,
        () = trickle(&client), if publishes => unreachable!("it goes on until the connection ends"),
    };
    assert_eq!(cause, ConnectionError::KeepAliveTimeout);
}

async fn trickle(client: &Client) {
    loop {
        let _ = client.publish("t", "x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Plays every test over one kind of transport; `reach` makes options for the port of a relay.
async fn plays(server: SocketAddr, parts: usize, reach: impl Fn(u16) -> Options) {
    let upload = async {
        let relay = SlowRelay::to(server, RATE);
        an_upload_completes(reach(relay.port()), parts).await;
    };
    let silence = |publishes| {
        let relay = SlowRelay::to(server, RATE);
        let options = reach(relay.port());
        async move { silence_is_noticed(options, &relay, publishes).await }
    };
    tokio::join!(upload, silence(false), silence(true));
}

#[tokio::test]
async fn over_tcp_slow_uploads_complete_and_silence_is_noticed() {
    in_time(async {
        let broker = listening().await;
        let server = (broker.host(), broker.port()).into();
        plays(server, 1, |port| Options::new("127.0.0.1", port)).await;
        broker.stop().await;
    })
    .await;
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn over_tls_slow_uploads_complete_and_silence_is_noticed() {
    use crate::certificates::Authority;
    use crate::tls_front::TlsFront;

    in_time(async {
        let broker = listening().await;
        let authority = Authority::new("ours");
        let server = (broker.host(), broker.port()).into();
        let front = TlsFront::to(server, &authority.issue("127.0.0.1")).await;
        plays(front.address(), 1, |port| {
            let tls = ferromqtt::TlsOptions::new().ca_pem(authority.pem());
            Options::new("127.0.0.1", port).tls(tls)
        })
        .await;
        broker.stop().await;
    })
    .await;
}

#[cfg(all(feature = "tls", feature = "websocket", unix))]
#[tokio::test]
async fn over_websocket_slow_uploads_complete_and_silence_is_noticed() {
    use crate::mosquitto_process::{Mosquitto, free_port};

    in_time(async {
        let port = free_port();
        let folder = format!("ferromqtt-slow-links-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        // It does not start with a WebSocket alone.
        let listeners = format!(
            "listener {port} 127.0.0.1\nprotocol websockets\nlistener 0 {}/socket\n",
            folder.display()
        );
        let starting = tokio::task::spawn_blocking(move || Mosquitto::start(folder, &listeners));
        let _broker = starting.await.unwrap();
        plays(([127, 0, 0, 1], port).into(), 12, |port| {
            Options::from_url(&format!("ws://127.0.0.1:{port}/mqtt")).unwrap()
        })
        .await;
    })
    .await;
}
