//! Packets other than PUBLISH that are large, and what many pending operations are told of one end.

use std::sync::Arc;

use ferromqtt_proto::packet::{Disconnect, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Attempts, connected, in_time, options};
use crate::{Connection, ConnectionError, Properties, PublishError, QoS, ReasonCode};

#[tokio::test(start_paused = true)]
async fn a_large_connack_is_refused_before_it_is_read() {
    for (limit, bytes) in [(None, (1 << 20) + 1), (Some(20_000), 20_001)] {
        let (attempts, script) = Attempts::new();
        let mut server = attempts.succeeds(4096);
        let mut options = options().reconnect(None);
        if let Some(limit) = limit {
            options = options.maximum_non_publish_size(limit);
        }
        let opening = tokio::spawn(Connection::open_over(options, script));
        let mut connect = [0; 64];
        assert!(in_time(server.read(&mut connect)).await.unwrap() > 0);
        let body = bytes - 4;
        let digit = |shift: usize| (body >> shift & 0x7f) as u8;
        let head = [0x20, digit(0) | 0x80, digit(7) | 0x80, digit(14)];
        server.write_all(&head).await.unwrap();
        let error = in_time(opening).await.unwrap().unwrap_err();
        let limit = limit.map_or(1 << 20, |limit| limit as usize);
        assert_eq!(
            error,
            super::not_connected(ConnectionError::NonPublishTooLarge { bytes, limit })
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_pending_publish_shares_what_a_disconnect_says() {
    let options = options().reconnect(None);
    let (connection, mut server, _attempts) = connected(options, 1 << 20).await;
    let client = connection.client();
    let mut receipts = Vec::new();
    for _ in 0..500 {
        let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
        receipts.push(in_time(publish.enqueue()).await.unwrap());
    }
    let mut disconnect = Disconnect::because(ReasonCode::ServerShuttingDown);
    disconnect.properties = Properties {
        user_properties: vec![Default::default(); 10_000].into(),
        ..Properties::default()
    };
    server.send(&Packet::Disconnect(Box::new(disconnect))).await;
    let mut shared: Option<Arc<Properties>> = None;
    for receipt in receipts {
        let Err(PublishError::Disconnected {
            cause: ConnectionError::Disconnected { properties, .. },
            ..
        }) = in_time(receipt).await
        else {
            panic!("it was pending");
        };
        let first = shared.get_or_insert_with(|| Arc::clone(&properties));
        assert!(Arc::ptr_eq(first, &properties));
    }
    assert_eq!(shared.unwrap().user_properties.len(), 10_000);
}
