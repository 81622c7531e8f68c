//! A slow link with a buffer of the operating system in front of it, and a driver that reports how far bytes have come.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::packet::{Ack, Packet, decode, whole_packets};
use ferromqtt_proto::{Options, Progress, ProtocolVersion, Publish, QoS, TcpProgress, TopicName};

use super::Pair;

/// How often bytes move.
const TICK: Duration = Duration::from_millis(50);

/// A driver takes more from the core once it has less than this.
const DRIVER_BUFFER: usize = 64 * 1024;

pub(crate) struct SlowLink {
    pub(crate) pair: Pair,
    version: ProtocolVersion,
    /// Bytes that the link carries in a second.
    pub(crate) rate: usize,
    /// Bytes that the operating system takes, whether the link carries them or not.
    pub(crate) system_buffer: usize,
    /// The driver can ask what the peer's TCP has acknowledged.
    pub(crate) tells: bool,
    /// Nothing comes through any more, either way.
    pub(crate) silent: bool,
    /// The peer's TCP still acknowledges, but the server does not read.
    pub(crate) hung: bool,
    /// In the driver.
    unwritten: BytesMut,
    /// In the operating system.
    unacknowledged: BytesMut,
    acknowledged: u64,
    /// At the server.
    arrived: BytesMut,
    pub(crate) pings: usize,
    pub(crate) publishes: usize,
    moved_at: Instant,
}

impl SlowLink {
    pub(crate) fn connected(options: Options, rate: usize, system_buffer: usize) -> Self {
        let version = options.protocol;
        let mut pair = Pair::connected(options);
        pair.events();
        pair.writable = false; // this driver takes the bytes instead
        Self {
            version,
            moved_at: pair.now,
            pair,
            rate,
            system_buffer,
            tells: true,
            silent: false,
            hung: false,
            unwritten: BytesMut::new(),
            unacknowledged: BytesMut::new(),
            acknowledged: 0,
            arrived: BytesMut::new(),
            pings: 0,
            publishes: 0,
        }
    }

    pub(crate) fn publish(&mut self, bytes: usize, qos: QoS) {
        let payload = Bytes::from(vec![7; bytes]);
        let mut publish = Publish::new(TopicName::new("t").unwrap(), payload);
        publish.qos = qos;
        self.pair.client.publish(self.pair.now, publish).unwrap();
        self.turn();
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.pair.client.is_connected()
    }

    /// Lets time pass, or as much of it as the connection lasts. `each_second` is done as often as it says.
    pub(crate) fn pass(&mut self, duration: Duration, mut each_second: impl FnMut(&mut Self)) {
        let end = self.pair.now + duration;
        let mut second = self.pair.now + Duration::from_secs(1);
        while self.pair.now < end && self.is_connected() {
            let due = self.pair.client.poll_timeout();
            let next = self.moved_at + TICK;
            self.pair.now = due.into_iter().chain([next, end]).min().unwrap();
            if self.pair.now >= next {
                self.carry();
            }
            if self.is_connected() {
                self.turn();
            }
            if self.pair.now >= second && self.is_connected() {
                second += Duration::from_secs(1);
                each_second(self);
            }
        }
    }

    /// One turn of the driver.
    fn turn(&mut self) {
        let now = self.pair.now;
        self.write_and_report();
        let client = &mut self.pair.client;
        client.handle_timeout(now);
        while self.unwritten.len() < DRIVER_BUFFER
            && let Some(chunk) = client.poll_transmit(now)
        {
            self.unwritten.extend_from_slice(&chunk);
        }
        self.write_and_report();
        self.pair.pump();
    }

    /// The operating system takes what it has room for; the core learns what it wants to know.
    fn write_and_report(&mut self) {
        let room = self.system_buffer.saturating_sub(self.unacknowledged.len());
        let taken = self.unwritten.split_to(room.min(self.unwritten.len()));
        self.unacknowledged.extend_from_slice(&taken);
        let unwritten = self.unwritten.len() as u64;
        if self.pair.client.wants_progress(self.pair.now, unwritten) {
            let tcp = self.tells.then_some(TcpProgress {
                acknowledged: self.acknowledged,
                unacknowledged: self.unacknowledged.len() as u64,
            });
            let held_up = unwritten > 0;
            let progress = Progress {
                unwritten,
                held_up,
                tcp,
            };
            (self.pair.client).transport_progress(self.pair.now, progress);
        }
    }

    /// The link carries what it can, and the server answers.
    fn carry(&mut self) {
        let elapsed = self.pair.now - self.moved_at;
        self.moved_at = self.pair.now;
        if self.silent {
            return;
        }
        let carried = (self.rate as f64 * elapsed.as_secs_f64()) as usize;
        let carried = self
            .unacknowledged
            .split_to(carried.min(self.unacknowledged.len()));
        self.acknowledged += carried.len() as u64;
        self.arrived.extend_from_slice(&carried);
        if self.hung {
            return;
        }
        let whole = whole_packets(&self.arrived, usize::MAX).unwrap();
        let source = self.arrived.split_to(whole.bytes).freeze();
        let mut at = 0;
        while at < source.len() {
            match decode(&source, &mut at, self.version).unwrap() {
                Packet::PingReq => {
                    self.pings += 1;
                    self.pair.server_sends(Packet::PingResp);
                }
                Packet::Publish(publish) => {
                    self.publishes += 1;
                    if let Some(id) = publish.packet_id {
                        self.pair.server_sends(Packet::PubAck(Ack::success(id)));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
