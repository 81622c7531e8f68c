//! Source: after each SUBSCRIBE, sends one batch of messages as fast as the socket takes them.
//!
//! The first SUBSCRIBE of a connection starts the warm-up batch (if there is one), the next the
//! measured batch. A batch ends with a message of an empty payload, which at QoS 1 leaves only
//! when every message of the batch has been acknowledged: who has read it has done all the work.
//!
//! A thread reads while this one writes, so a client that is slow to read is never waited for
//! with its acknowledgements unread.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread;

use crate::SILENCE_LIMIT;
use crate::sequence::{self, CYCLE};
use crate::wire::{self, Connect, Fields, PacketReader};

/// Messages per write: about 40 KiB of small ones.
const MESSAGES_PER_WRITE: u32 = 512;

/// What to send.
pub(crate) struct Plan {
    pub(crate) messages: u32,
    pub(crate) warm_up: u32,
    pub(crate) payload_size: usize,
    pub(crate) qos: u8,
}

/// What the reading thread tells the writing one. When it ends, the channel closes.
enum Notice {
    Connected(Connect),
    Subscribed {
        suback: Vec<u8>,
        topic: Vec<u8>,
        qos: u8,
    },
    Reply(Vec<u8>),
    Acknowledged {
        in_order: u32,
        out_of_order: u32,
    },
}

/// Serves one connection until DISCONNECT or the end of the stream; returns its line of JSON.
pub(crate) fn serve(stream: &TcpStream, plan: &Plan) -> io::Result<String> {
    let (sender, notices) = mpsc::channel();
    thread::scope(|scope| {
        let reading = scope.spawn(move || read(stream, &sender));
        let mut writer = Writer::new(stream, notices);
        let written = writer.run(plan);
        if written.is_err() {
            // Wakes the reading thread, which may wait for a client that has nothing to say.
            let _ = stream.shutdown(Shutdown::Both);
        }
        let read = reading
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the reading thread panicked")));
        written.and(read)?;
        Ok(writer.report())
    })
}

/// Reads until DISCONNECT or the end of the stream.
fn read(stream: &TcpStream, notices: &Sender<Notice>) -> io::Result<()> {
    let mut reader = PacketReader::new();
    let mut connect = None;
    let mut expected_identifier = 1;
    while reader.fill(stream)? {
        let (mut in_order, mut out_of_order) = (0, 0);
        while let Some(packet) = reader.next_packet()? {
            let Some(connect) = connect else {
                let parsed = Connect::parse(&packet)?;
                connect = Some(parsed);
                notify(notices, Notice::Connected(parsed))?;
                continue;
            };
            match packet.packet_type() {
                wire::PUBACK => {
                    // A client acknowledges in the order of receipt, and we send 1, 2, 3, ...
                    if Fields(packet.body).two_bytes()? == expected_identifier {
                        in_order += 1;
                    } else {
                        out_of_order += 1;
                    }
                    expected_identifier = next_identifier(expected_identifier);
                }
                wire::SUBSCRIBE => {
                    let (suback, topic, qos) = wire::answer_subscribe(packet.body, connect)?;
                    let topic = topic.to_vec();
                    notify(notices, Notice::Subscribed { suback, topic, qos })?;
                }
                wire::UNSUBSCRIBE => {
                    let unsuback = wire::answer_unsubscribe(packet.body, connect)?;
                    notify(notices, Notice::Reply(unsuback))?;
                }
                wire::PINGREQ => notify(notices, Notice::Reply(wire::PINGRESP.to_vec()))?,
                wire::DISCONNECT => return Ok(()),
                _ => return Err(wire::malformed("a packet that a source does not expect")),
            }
        }
        if in_order + out_of_order > 0 {
            let acknowledged = Notice::Acknowledged {
                in_order,
                out_of_order,
            };
            notify(notices, acknowledged)?;
        }
    }
    Ok(())
}

fn notify(notices: &Sender<Notice>, notice: Notice) -> io::Result<()> {
    notices
        .send(notice)
        .map_err(|_| io::Error::other("the writing side has given up"))
}

/// Packet Identifiers run from 1 to 65,535 and start again; zero is not one.
fn next_identifier(identifier: u16) -> u16 {
    identifier.checked_add(1).unwrap_or(1)
}

struct Writer<'a> {
    stream: &'a TcpStream,
    notices: Receiver<Notice>,
    window: u32,
    is_version_5: bool,
    batches: u32,
    next_identifier: u16,
    in_flight: u32,
    sent: u64,
    acknowledged: u64,
    out_of_order: u64,
}

impl<'a> Writer<'a> {
    fn new(stream: &'a TcpStream, notices: Receiver<Notice>) -> Self {
        Self {
            stream,
            notices,
            window: u32::from(u16::MAX),
            is_version_5: false,
            batches: 0,
            next_identifier: 1,
            in_flight: 0,
            sent: 0,
            acknowledged: 0,
            out_of_order: 0,
        }
    }

    fn run(&mut self, plan: &Plan) -> io::Result<()> {
        while let Some(notice) = self.wait_for_notice()? {
            if let Some((topic, qos)) = self.take(notice)? {
                self.send_batch(plan, &topic, qos.min(plan.qos))?;
            }
        }
        Ok(())
    }

    /// `None` when the reading thread has ended.
    fn wait_for_notice(&self) -> io::Result<Option<Notice>> {
        match self.notices.recv_timeout(SILENCE_LIMIT) {
            Ok(notice) => Ok(Some(notice)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "nothing from the client for {SILENCE_LIMIT:?}, with {} messages unacknowledged",
                    self.in_flight
                ),
            )),
        }
    }

    /// Answers the client. Returns topic and QoS when a batch is to be sent.
    fn take(&mut self, notice: Notice) -> io::Result<Option<(Vec<u8>, u8)>> {
        match notice {
            Notice::Connected(connect) => {
                self.is_version_5 = connect.is_version_5;
                self.window = u32::from(connect.receive_maximum);
                self.stream.write_all(connect.acknowledgement())?;
            }
            Notice::Reply(bytes) => self.stream.write_all(&bytes)?,
            Notice::Acknowledged {
                in_order,
                out_of_order,
            } => {
                let total = in_order + out_of_order;
                self.in_flight = self
                    .in_flight
                    .checked_sub(total)
                    .ok_or_else(|| wire::malformed("more PUBACKs than we sent messages"))?;
                self.acknowledged += u64::from(total);
                self.out_of_order += u64::from(out_of_order);
            }
            Notice::Subscribed { suback, topic, qos } => {
                self.stream.write_all(&suback)?;
                return Ok(Some((topic, qos)));
            }
        }
        Ok(None)
    }

    fn send_batch(&mut self, plan: &Plan, topic: &[u8], qos: u8) -> io::Result<()> {
        let is_warm_up = self.batches == 0 && plan.warm_up > 0;
        let total = if is_warm_up {
            plan.warm_up
        } else {
            plan.messages
        };
        self.batches += 1;
        let mut encoded = EncodedCycle::new(topic, plan.payload_size, qos, self.is_version_5);
        let mut position = 0;
        while position < total {
            let start = position % CYCLE;
            let mut count = MESSAGES_PER_WRITE.min(total - position).min(CYCLE - start);
            if qos > 0 {
                count = count.min(self.wait_for_window(count)?);
                self.next_identifier = encoded.number(start, count, self.next_identifier);
                self.in_flight += count;
            }
            self.stream.write_all(encoded.messages(start, count))?;
            position += count;
            self.sent += u64::from(count);
            self.take_pending_notices()?;
        }
        self.wait_for_in_flight(0)?;
        let marker = encode(topic, &[], 0, self.is_version_5);
        self.stream.write_all(&marker)
    }

    /// How many more messages the client's Receive Maximum allows, at least one. Waits until
    /// `wanted` fit, or as many as can ever fit: single messages would make us the slow side.
    fn wait_for_window(&mut self, wanted: u32) -> io::Result<u32> {
        self.wait_for_in_flight(self.window.saturating_sub(wanted))?;
        Ok(self.window - self.in_flight)
    }

    fn wait_for_in_flight(&mut self, limit: u32) -> io::Result<()> {
        while self.in_flight > limit {
            let notice = self
                .wait_for_notice()?
                .ok_or_else(|| wire::malformed("DISCONNECT before its last PUBACK"))?;
            self.take_during_batch(notice)?;
        }
        Ok(())
    }

    fn take_pending_notices(&mut self) -> io::Result<()> {
        loop {
            match self.notices.try_recv() {
                Ok(notice) => self.take_during_batch(notice)?,
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }

    fn take_during_batch(&mut self, notice: Notice) -> io::Result<()> {
        match self.take(notice)? {
            None => Ok(()),
            Some(_) => Err(wire::malformed("SUBSCRIBE before the last batch had ended")),
        }
    }

    fn report(&self) -> String {
        format!(
            "{{\"messages\":{},\"batches\":{},\"acknowledged\":{},\"out_of_order\":{}}}",
            self.sent, self.batches, self.acknowledged, self.out_of_order
        )
    }
}

/// One cycle of messages, encoded once and written again and again. All have the same size.
struct EncodedCycle {
    bytes: Vec<u8>,
    message_size: usize,
    identifier_offset: usize,
}

impl EncodedCycle {
    fn new(topic: &[u8], payload_size: usize, qos: u8, is_version_5: bool) -> Self {
        let bytes: Vec<u8> = (0..CYCLE)
            .flat_map(|number| {
                let payload = sequence::payload(number, payload_size);
                encode(topic, &payload, qos, is_version_5)
            })
            .collect();
        let message_size = bytes.len() / CYCLE as usize;
        // Behind the identifier come the properties (one byte, none of them) and the payload.
        let identifier_offset = message_size - payload_size - usize::from(is_version_5) - 2;
        Self {
            bytes,
            message_size,
            identifier_offset,
        }
    }

    /// Writes Packet Identifiers into some messages and returns the one that follows.
    fn number(&mut self, start: u32, count: u32, mut identifier: u16) -> u16 {
        for index in start..start + count {
            let at = index as usize * self.message_size + self.identifier_offset;
            self.bytes[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
            identifier = next_identifier(identifier);
        }
        identifier
    }

    fn messages(&self, start: u32, count: u32) -> &[u8] {
        let (start, end) = (start as usize, (start + count) as usize);
        &self.bytes[start * self.message_size..end * self.message_size]
    }
}

fn encode(topic: &[u8], payload: &[u8], qos: u8, is_version_5: bool) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend_from_slice(topic);
    if qos > 0 {
        body.extend_from_slice(&[0, 1]); // a place for the Packet Identifier
    }
    if is_version_5 {
        body.push(0);
    }
    body.extend_from_slice(payload);
    wire::with_fixed_header(0x30 | qos << 1, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_messages_carry_identifier_and_sequence_number() {
        for is_version_5 in [false, true] {
            let mut encoded = EncodedCycle::new(b"bench/topic", 64, 1, is_version_5);
            assert_eq!(encoded.number(10, 2, u16::MAX), 2);
            let mut reader = PacketReader::new();
            reader
                .fill(encoded.messages(10, 2))
                .expect("a slice can be read");
            for (number, identifier) in [(10, u16::MAX), (11, 1)] {
                let packet = reader
                    .next_packet()
                    .expect("well-formed")
                    .expect("a whole packet");
                let mut fields = Fields(packet.body);
                assert_eq!(fields.text().expect("Topic Name"), b"bench/topic");
                assert_eq!(fields.two_bytes().expect("Packet Identifier"), identifier);
                if is_version_5 {
                    assert!(fields.properties().expect("properties").is_empty());
                }
                assert_eq!(fields.0, sequence::payload(number, 64));
            }
            assert!(reader.next_packet().expect("well-formed").is_none());
        }
    }

    #[test]
    fn identifiers_skip_zero() {
        assert_eq!(next_identifier(u16::MAX), 1);
        assert_eq!(next_identifier(1), 2);
    }
}
