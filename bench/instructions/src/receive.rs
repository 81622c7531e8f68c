//! Receiving through the core, as a driver does it.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use ferromqtt_proto::packet::Packet;
use ferromqtt_proto::{Client, QoS, QueueId};

use crate::link::{VERSION, connected};
use crate::message::{PAYLOAD, packet, packet_id};

/// Messages that arrive together.
const BATCH: usize = 500;

pub(crate) struct Receiver {
    client: Client,
    now: Instant,
    qos: QoS,
    batch: Bytes,
}

impl Receiver {
    pub(crate) fn new(qos: QoS) -> Self {
        let (client, now) = connected();
        let mut batch = BytesMut::new();
        for number in 0..BATCH {
            Packet::Publish(packet(number, qos)).encode(VERSION, &mut batch);
        }
        Self {
            client,
            now,
            qos,
            batch: batch.freeze(),
        }
    }

    /// Receives so many messages, a multiple of the batch, and takes them from the queue.
    pub(crate) fn receive(&mut self, count: usize) {
        let mut taken = 0;
        let mut written = 0;
        while taken < count {
            // A driver reads into memory of its own, which the messages keep.
            let mut input = BytesMut::from(&self.batch[..]);
            written += self.handle(&mut input);
            while let Some(message) = self.client.next_message(QueueId::DEFAULT) {
                assert_eq!(message.payload.len(), PAYLOAD.len());
                taken += 1;
            }
            if self.qos == QoS::ExactlyOnce {
                for number in 0..BATCH {
                    let [high, low] = packet_id(number).get().to_be_bytes();
                    input.put_slice(&[0x62, 2, high, low]);
                }
                written += self.handle(&mut input);
            }
        }
        assert_eq!(taken, count);
        let bytes_per_message = 4 * usize::from(self.qos.value()); // PUBACK; PUBREC and PUBCOMP
        assert_eq!(written, count * bytes_per_message);
    }

    /// Takes in what the server sent, and tells how many bytes the client wrote.
    fn handle(&mut self, input: &mut BytesMut) -> usize {
        self.client.handle_input(self.now, input);
        while self.client.poll_event().is_some() {}
        let mut written = 0;
        while let Some(chunk) = self.client.poll_transmit(self.now) {
            written += chunk.len();
        }
        written
    }
}
