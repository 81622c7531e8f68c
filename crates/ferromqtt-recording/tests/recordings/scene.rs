//! A recorder that writes into memory, and packets for it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{
    Ack, ConnAck, Connect, Packet, PacketId, Properties, ProtocolVersion, PublishPacket, QoS,
    ReasonCode,
};
use ferromqtt_recording::{ClosedBy, RecordedLink, RecordedPayloads, Recorder, Recording};

/// Keeps what is written to any of its clones.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One link of a recording in memory.
pub(crate) struct Scene {
    pub(crate) recorder: Recorder,
    pub(crate) link: Option<RecordedLink>,
    pub(crate) now: Instant,
    memory: Memory,
    version: ProtocolVersion,
}

impl Scene {
    pub(crate) fn new(payloads: RecordedPayloads, version: ProtocolVersion) -> Self {
        let memory = Memory::default();
        let recorder = Recorder::new(memory.clone(), payloads);
        let now = Instant::now();
        Self {
            link: Some(recorder.open(now)),
            recorder,
            now,
            memory,
            version,
        }
    }

    pub(crate) fn v5(payloads: RecordedPayloads) -> Self {
        Self::new(payloads, ProtocolVersion::V5)
    }

    pub(crate) fn link(&mut self) -> &mut RecordedLink {
        self.link.as_mut().unwrap()
    }

    pub(crate) fn encoded(&self, packet: &Packet) -> Bytes {
        let mut bytes = BytesMut::new();
        packet.encode(self.version, &mut bytes);
        bytes.freeze()
    }

    pub(crate) fn client(&mut self, packet: &Packet) {
        let (now, bytes) = (self.now, self.encoded(packet));
        self.link().to_server(now, &bytes);
    }

    pub(crate) fn server(&mut self, packet: &Packet) {
        let (now, bytes) = (self.now, self.encoded(packet));
        self.link().to_client(now, &bytes);
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn close(&mut self) {
        let now = self.now;
        self.link.take().unwrap().close(now, ClosedBy::Client);
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.memory.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn recording(&self) -> Recording {
        self.text().parse().unwrap()
    }
}

pub(crate) fn id(number: u16) -> PacketId {
    PacketId::new(number).unwrap()
}

pub(crate) fn connect(client_identifier: &str, version: ProtocolVersion) -> Connect {
    Connect {
        protocol: version,
        clean_start: true,
        keep_alive: 60,
        properties: Properties::default(),
        client_identifier: client_identifier.try_into().unwrap(),
        will: None,
        user_name: None,
        password: None,
    }
}

pub(crate) fn connack() -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: Properties::default(),
    }))
}

pub(crate) fn publish(topic: &str, payload: &[u8], packet_id: Option<u16>) -> Packet {
    Packet::Publish(PublishPacket {
        dup: false,
        qos: match packet_id {
            Some(_) => QoS::AtLeastOnce,
            None => QoS::AtMostOnce,
        },
        retain: false,
        topic: topic.try_into().unwrap(),
        packet_id: packet_id.map(id),
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    })
}

pub(crate) fn puback(packet_id: u16) -> Packet {
    Packet::PubAck(Ack::success(id(packet_id)))
}
