//! What the driver's reads and writes are like: few, and large payloads stay where they are.

use std::io::IoSlice;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex as StdMutex;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use ferromqtt_proto::{LARGE_PAYLOAD, PacketId};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::ReasonCode;

/// Addresses of what was written and read: a range for each piece.
#[derive(Default)]
struct Seen {
    writes: Vec<Vec<Range<usize>>>,
    reads: Vec<Range<usize>>,
}

fn addresses(bytes: &[u8]) -> Range<usize> {
    let start = bytes.as_ptr() as usize;
    start..start + bytes.len()
}

fn lies_in(inner: &Range<usize>, outer: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// A pipe that takes as much as it is given, and notes where that lies.
struct Watched {
    pipe: DuplexStream,
    seen: Arc<StdMutex<Seen>>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.pipe).poll_read(cx, buffer))?;
        let read = addresses(&buffer.filled()[before..]);
        self.seen.lock().unwrap().reads.push(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = slices
            .iter()
            .flat_map(|slice| slice.iter().copied())
            .collect();
        let written = ready!(Pin::new(&mut self.pipe).poll_write(cx, &all))?;
        assert_eq!(written, all.len(), "the pipe is large enough");
        let pieces = slices.iter().map(|slice| addresses(slice)).collect();
        self.seen.lock().unwrap().writes.push(pieces);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// A connection whose reads and writes are noted from now on.
async fn watched() -> (Connection, Server<DuplexStream>, Arc<StdMutex<Seen>>) {
    let (ours, theirs) = duplex(8 << 20);
    let seen = Arc::new(StdMutex::new(Seen::default()));
    let (given, noted) = (StdMutex::new(Some(theirs)), Arc::clone(&seen));
    let transport = move |_: Place| {
        let pipe = given.lock().unwrap().take().unwrap();
        let seen = Arc::clone(&noted);
        async move { Ok(Watched { pipe, seen }) }
    };
    let (connection, (server, _)) = tokio::join!(
        Connection::open(options().transport(transport)),
        Server::accept(ours, false)
    );
    *seen.lock().unwrap() = Seen::default();
    (connection.unwrap(), server, seen)
}

#[tokio::test(start_paused = true)]
async fn publishes_of_one_turn_leave_in_one_write() {
    const COUNT: usize = 50; // twice that many may be enqueued in a row before others run
    let (connection, mut server, seen) = watched().await;
    let client = connection.client();
    let mut receipts = Vec::new();
    for number in 0..COUNT {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let publish = client.publish("t", number.to_string()).qos(qos);
            receipts.push(publish.enqueue().await.unwrap());
        }
    }
    let first = server.publish().await;
    assert_eq!(seen.lock().unwrap().writes.len(), 1);
    let mut left = vec![first];
    while left.len() < 2 * COUNT {
        left.push(server.publish().await);
    }
    assert_eq!(seen.lock().unwrap().writes.len(), 1);
    for publish in left.iter().filter(|it| it.packet_id.is_some()) {
        server.puback(publish.packet_id, ReasonCode::Success).await;
    }
    for receipt in receipts {
        receipt.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_read_brings_is_acknowledged_in_one_write() {
    const COUNT: u16 = 100;
    let (connection, mut server, seen) = watched().await;
    let client = connection.client();
    let (messages, ()) = tokio::join!(
        client.subscribe("t").qos(QoS::AtLeastOnce).into_future(),
        server.subscribe(ReasonCode::GrantedQos1)
    );
    let mut messages = messages.unwrap();
    *seen.lock().unwrap() = Seen::default();
    for number in 1..=COUNT {
        let Packet::Publish(publish) = message("x") else {
            unreachable!("a PUBLISH");
        };
        let publish = packet::PublishPacket {
            qos: QoS::AtLeastOnce,
            packet_id: PacketId::new(number),
            ..publish
        };
        server.send(&Packet::Publish(publish)).await; // into the pipe: the driver has no turn meanwhile
    }
    for _ in 0..COUNT {
        messages.next().await.unwrap();
    }
    for _ in 0..COUNT {
        assert!(matches!(server.next().await, Some(Packet::PubAck(_))));
    }
    let seen = seen.lock().unwrap();
    assert_eq!((seen.reads.len(), seen.writes.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_is_written_from_where_it_is() {
    let (connection, mut server, seen) = watched().await;
    let client = connection.client();
    let payload = Bytes::from(vec![7; 1 << 20]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let publish = client.publish("t", payload.clone()).qos(qos);
        drop(publish.enqueue().await.unwrap());
        assert_eq!(server.publish().await.payload, payload);
    }
    let place = addresses(&payload);
    let seen = seen.lock().unwrap();
    let large = (seen.writes.iter().flatten()).filter(|piece| piece.len() >= LARGE_PAYLOAD);
    let written: usize = large
        .map(|piece| {
            assert!(lies_in(piece, &place));
            piece.len()
        })
        .sum();
    assert_eq!(written, 2 * payload.len());
}

#[tokio::test(start_paused = true)]
async fn a_large_payload_stays_where_it_was_read_into() {
    let (connection, mut server, seen) = watched().await;
    let client = connection.client();
    let (messages, ()) = tokio::join!(
        client.subscribe("t").into_future(),
        server.subscribe(ReasonCode::Success)
    );
    let mut messages = messages.unwrap();
    let Packet::Publish(publish) = message("") else {
        unreachable!("a PUBLISH");
    };
    let payload = Bytes::from(vec![7; 1 << 20]);
    let publish = Packet::Publish(packet::PublishPacket {
        payload: payload.clone(),
        ..publish
    });
    let (received, ()) = tokio::join!(messages.next(), server.send(&publish));
    let received = received.unwrap();
    assert_eq!(received.payload, payload);
    let place = addresses(&received.payload);
    let seen = seen.lock().unwrap();
    let read: usize = (seen.reads.iter())
        .filter(|piece| lies_in(piece, &place))
        .map(ExactSizeIterator::len)
        .sum();
    // All but what came before its length was known.
    assert!(payload.len() - read < 16 * 1024, "{read}");
}
