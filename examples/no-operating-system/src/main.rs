//! A client that connects, subscribes, publishes and reads, without a socket and without a clock. `make audit` builds it for
//! a machine that has neither, and looks that it asks its environment for nothing.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::packet::{Disconnect, whole_packets};
use ferromqtt_proto::{
    Client, Options, Properties, Publish, QoS, QueueId, Session, Subscribe, SubscriptionOptions,
    TopicFilter, TopicName, TransportError,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let now = Instant::now(); // the only time that is read
    let mut client = Client::new(Options::default(), Session::default(), 1)?;
    client.connect(now);
    while client.poll_transport().is_some() {}
    client.transport_opened(now);
    let sent = take(&mut client, now);
    client.handle_input(now, &mut BytesMut::from(&b"\x20\x03\x00\x00\x00"[..]));
    let mut publish = Publish::new(TopicName::new("greeting")?, "hello");
    publish.qos = QoS::ExactlyOnce;
    client.publish(now, publish)?;
    client.subscribe(
        now,
        Subscribe {
            filters: vec![(TopicFilter::new("#")?, SubscriptionOptions::default())],
            properties: Properties::default(),
            queue: QueueId::DEFAULT,
        },
    )?;
    let sent = sent + take(&mut client, now);
    client.handle_input(
        now,
        &mut BytesMut::from(&b"\x32\x09\x00\x01t\x00\x01\x00abc"[..]),
    );
    assert!(client.next_message(QueueId::DEFAULT).is_some());
    client.disconnect(now, Disconnect::normal());
    let sent = sent + take(&mut client, now);
    client.transport_closed(now, TransportError::EndOfStream);
    while client.poll_event().is_some() {}
    assert!(client.is_idle() && client.poll_timeout().is_none());
    assert_eq!(sent, 5, "CONNECT, PUBLISH, SUBSCRIBE, PUBACK, DISCONNECT");
    Ok(())
}

/// Counts the packets that the client would write.
fn take(client: &mut Client, now: Instant) -> usize {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = client.poll_transmit(now) {
        bytes.extend_from_slice(&chunk);
    }
    let mut count = 0;
    while !bytes.is_empty() {
        let first = (1..=bytes.len())
            .find(|&end| whole_packets(&bytes[..end], usize::MAX).is_ok_and(|it| it.bytes > 0));
        let _ = bytes.split_to(first.unwrap_or(bytes.len()));
        count += 1;
    }
    count
}
