//! Keep Alive over links that are slow, and over links that fall silent: plain, in TLS, and in WebSocket.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ferromqtt::{Client, Connection, ConnectionError, Options, QoS};

use crate::slow_relay::SlowRelay;
use crate::{broker, in_time};

/// Seconds. Half of it is the shortest time that a PINGREQ waits for its answer.
const KEEP_ALIVE: u16 = 2;

const RATE: usize = 1_000_000;

fn patient(options: Options) -> Options {
    options.keep_alive(KEEP_ALIVE).reconnect(None)
}

/// Three times as long as one and a half Keep Alives.
async fn an_upload_completes(options: Options) {
    let connection = Connection::open(patient(options)).await.unwrap();
    let client = connection.client();
    let began = Instant::now();
    let publish = client.publish("t", vec![7; 9 * RATE]).qos(QoS::AtLeastOnce);
    publish.await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(7), "the link is slow");
    assert_eq!(client.stats().connections, 1);
    connection.disconnect().await.unwrap();
}

/// Whether it carries messages at that moment or not. The limit leaves a busy machine time; without any Keep Alive the
/// operating system would take a quarter of an hour.
async fn silence_is_noticed(options: Options, relay: &SlowRelay, publishes: bool) {
    let connection = Connection::open(patient(options)).await.unwrap();
    let client = connection.client();
    client
        .publish("t", "x")
        .qos(QoS::AtLeastOnce)
        .await
        .unwrap();
    relay.fall_silent();
    let began = Instant::now();
    let cause = tokio::select! {
        cause = client.closed() => cause,
        () = trickle(&client), if publishes => unreachable!("it goes on until the connection ends"),
    };
    assert_eq!(cause, ConnectionError::KeepAliveTimeout);
    let took = began.elapsed();
    let limit = Duration::from_millis(1_500 * u64::from(KEEP_ALIVE));
    assert!(took < limit + Duration::from_secs(3), "{took:?}");
}

async fn trickle(client: &Client) {
    loop {
        let _ = client.publish("t", "x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Plays every test over one kind of transport; `reach` makes options for the port of a relay.
async fn plays(server: SocketAddr, reach: impl Fn(u16) -> Options) {
    let upload = async {
        let relay = SlowRelay::to(server, RATE);
        an_upload_completes(reach(relay.port())).await;
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
        let broker = broker().await;
        let server = (broker.host(), broker.port()).into();
        plays(server, |port| Options::new("127.0.0.1", port)).await;
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
        let broker = broker().await;
        let authority = Authority::new("ours");
        let server = (broker.host(), broker.port()).into();
        let front = TlsFront::to(server, &authority.issue("127.0.0.1")).await;
        plays(front.address(), |port| {
            let tls = ferromqtt::TlsOptions::new().ca_pem(authority.pem());
            Options::new("127.0.0.1", port).tls(tls)
        })
        .await;
        broker.stop().await;
    })
    .await;
}
