//! Keep Alive over a pipe, which holds little and of which nobody tells what the peer has got.

use std::time::Duration;

use ferromqtt_proto::packet::Packet;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, interval};

use super::*;
use crate::ConnectionError;

const KEEP_ALIVE: Duration = Duration::from_secs(5);

fn five_seconds() -> Options {
    options().keep_alive(Duration::from_secs(5)).reconnect(None)
}

#[tokio::test(start_paused = true)]
async fn a_payload_of_many_keep_alives_is_no_silence() {
    in_time(async {
        let (connection, mut server, _attempts) = connected(five_seconds(), 64 * 1024).await;
        let client = connection.client();
        let publish = tokio::spawn(async move {
            let payload = vec![7; 15_000_000];
            client.publish("t", payload).qos(QoS::AtLeastOnce).await
        });
        // 1 MB in each second.
        let mut tick = interval(Duration::from_millis(50));
        let mut left = 15_000_000;
        while left > 0 {
            tick.tick().await;
            let mut buffer = vec![0; 50_000.min(left)];
            server.stream.read_exact(&mut buffer).await.unwrap();
            left -= buffer.len();
        }
        // The end of the PUBLISH, whose beginning was read with it, and what has waited behind it.
        let mut rest = Vec::new();
        while !rest.ends_with(&[0xC0, 0]) {
            rest.push(server.stream.read_u8().await.unwrap());
        }
        server.send(&Packet::PingResp).await;
        let id = packet::PacketId::new(1);
        server
            .puback(id, ferromqtt_proto::ReasonCode::Success)
            .await;
        publish.await.unwrap().unwrap();
        drop(connection);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pipe_that_nobody_reads_is_noticed_while_idle_and_while_publishing() {
    for publishes in [false, true] {
        in_time(async {
            let (connection, _server, _attempts) = connected(five_seconds(), 1 << 20).await;
            let began = Instant::now();
            let client = connection.client();
            let trickle = async {
                loop {
                    let _ = client.publish("t", "x").await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            let cause = tokio::select! {
                cause = client.closed() => cause,
                () = trickle, if publishes => unreachable!("it goes on"),
            };
            assert_eq!(cause, ConnectionError::KeepAliveTimeout);
            let took = began.elapsed();
            assert!(
                took <= KEEP_ALIVE * 3 / 2 + Duration::from_millis(2),
                "{took:?}"
            );
        })
        .await;
    }
}
