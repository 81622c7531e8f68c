//! Publishing through the core, as a driver does it.

use std::time::Instant;

use bytes::{BufMut, BytesMut};
use ferromqtt_proto::packet::PublishRef;
use ferromqtt_proto::{Client, Event, Publish, QoS, TopicName};

use crate::link::{IN_FLIGHT, connected};
use crate::message::{PAYLOAD, TOPIC};

pub(crate) struct Publisher {
    client: Client,
    now: Instant,
    qos: QoS,
    topic: TopicName,
    server: Server,
}

impl Publisher {
    pub(crate) fn new(qos: QoS) -> Self {
        let (client, now) = connected();
        Self {
            client,
            now,
            qos,
            topic: TopicName::new(TOPIC).expect("it is a topic"),
            server: Server::default(),
        }
    }

    /// Publishes so many messages, and waits for their acknowledgements.
    pub(crate) fn publish(&mut self, count: usize) {
        if self.qos == QoS::AtMostOnce {
            self.publish_at_once(count);
            return;
        }
        let mut missing = count;
        while missing > 0 {
            let batch = missing.min(usize::from(IN_FLIGHT));
            for _ in 0..batch {
                let mut publish = Publish::new(self.topic.clone(), PAYLOAD);
                publish.qos = self.qos;
                (self.client.publish(self.now, publish)).expect("it is accepted");
            }
            assert_eq!(self.completed(), batch);
            missing -= batch;
        }
    }

    /// Publishes at QoS 0, and writes whenever a chunk is full.
    fn publish_at_once(&mut self, count: usize) {
        let publish = PublishRef {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic: TOPIC.as_bytes(),
            packet_id: None,
            properties: None,
            payload_len: PAYLOAD.len(),
        };
        for _ in 0..count {
            while !(self.client.publish_at_once(publish, &PAYLOAD)).expect("it is accepted") {
                let chunk = self.client.poll_transmit(self.now);
                assert!(chunk.is_some(), "a full chunk is why it waits");
            }
        }
        while self.client.poll_transmit(self.now).is_some() {}
    }

    /// Exchanges bytes with the server until neither has any more, and tells how many operations that completed.
    fn completed(&mut self) -> usize {
        let mut completed = 0;
        let mut answer = BytesMut::new();
        loop {
            while let Some(chunk) = self.client.poll_transmit(self.now) {
                self.server.answer(&chunk, &mut answer);
            }
            if answer.is_empty() {
                return completed;
            }
            self.client.handle_input(self.now, &mut answer);
            while let Some(event) = self.client.poll_event() {
                completed += usize::from(matches!(event, Event::Completed { .. }));
            }
        }
    }
}

/// A server that acknowledges, and looks at no more than it needs for that: its own work is counted, too.
#[derive(Default)]
struct Server {
    /// The part of a packet that the last chunk ended with.
    partial: Vec<u8>,
}

impl Server {
    fn answer(&mut self, chunk: &[u8], answer: &mut BytesMut) {
        let joined;
        let mut rest = chunk;
        if !self.partial.is_empty() {
            joined = [&self.partial[..], chunk].concat();
            self.partial.clear();
            rest = &joined;
        }
        while let [first, length, body @ ..] = rest
            && body.len() >= usize::from(*length)
        {
            let (body, behind) = body.split_at(usize::from(*length));
            let (id, packet_type) = match first & 0xf6 {
                0x32 => (&body[2 + TOPIC.len()..], 0x40),
                0x34 => (&body[2 + TOPIC.len()..], 0x50),
                0x62 => (body, 0x70),
                other => panic!("packet {other:#x}"),
            };
            answer.put_slice(&[packet_type, 2, id[0], id[1]]);
            rest = behind;
        }
        self.partial.extend_from_slice(rest);
    }
}
