//! Sink: counts what the client publishes, checks its order and acknowledges it.

use std::io::{self, Write};
use std::net::TcpStream;

use crate::gate::Gate;
use crate::sequence::SequenceCheck;
use crate::wire::{self, Connect, Fields, Packet, PacketReader};

/// Serves one connection until DISCONNECT or the end of the stream; returns its line of JSON.
pub(crate) fn serve(mut stream: &TcpStream, gate: &Gate) -> io::Result<String> {
    let mut sink = Sink::default();
    let mut reader = PacketReader::new();
    let mut is_open = true;
    while is_open && reader.fill(stream)? {
        while is_open && let Some(packet) = reader.next_packet()? {
            is_open = sink.take(&packet)?;
        }
        gate.wait_for(sink.check.messages);
        // All acknowledgements of one read leave in one write.
        stream.write_all(&sink.replies)?;
        sink.replies.clear();
    }
    Ok(sink.report())
}

#[derive(Default)]
struct Sink {
    connect: Option<Connect>,
    check: SequenceCheck,
    replies: Vec<u8>,
}

impl Sink {
    /// False when the client said DISCONNECT.
    fn take(&mut self, packet: &Packet<'_>) -> io::Result<bool> {
        let Some(connect) = self.connect else {
            let connect = Connect::parse(packet)?;
            self.replies.extend_from_slice(connect.acknowledgement());
            self.connect = Some(connect);
            return Ok(true);
        };
        match packet.packet_type() {
            wire::PUBLISH => self.take_publish(packet, connect)?,
            wire::PUBREL => self.reply(wire::PUBCOMP_HEADER, Fields(packet.body).two_bytes()?),
            wire::PINGREQ => self.replies.extend_from_slice(&wire::PINGRESP),
            wire::SUBSCRIBE => {
                let (suback, _, _) = wire::answer_subscribe(packet.body, connect)?;
                self.replies.extend_from_slice(&suback);
            }
            wire::UNSUBSCRIBE => {
                let unsuback = wire::answer_unsubscribe(packet.body, connect)?;
                self.replies.extend_from_slice(&unsuback);
            }
            wire::DISCONNECT => return Ok(false),
            _ => return Err(wire::malformed("a packet that a sink does not expect")),
        }
        Ok(true)
    }

    fn take_publish(&mut self, packet: &Packet<'_>, connect: Connect) -> io::Result<()> {
        let mut fields = Fields(packet.body);
        fields.text()?; // Topic Name
        match (packet.first_byte >> 1) & 0x03 {
            0 => {}
            1 => self.reply(wire::PUBACK_HEADER, fields.two_bytes()?),
            2 => self.reply(wire::PUBREC_HEADER, fields.two_bytes()?),
            _ => return Err(wire::malformed("a PUBLISH with QoS 3")),
        }
        if connect.is_version_5 {
            fields.properties()?;
        }
        // An empty payload marks the end of a batch: its acknowledgement tells the client that
        // everything before it has arrived. It is not a message of the benchmark.
        if fields.0.is_empty() {
            return Ok(());
        }
        self.check.take(fields.0).map_err(wire::malformed)
    }

    fn reply(&mut self, header: [u8; 2], packet_identifier: u16) {
        self.replies.extend_from_slice(&header);
        self.replies
            .extend_from_slice(&packet_identifier.to_be_bytes());
    }

    fn report(&self) -> String {
        let SequenceCheck {
            messages,
            lost,
            reordered,
            duplicates,
            ..
        } = &self.check;
        format!(
            "{{\"messages\":{messages},\"lost\":{lost},\"reordered\":{reordered},\
             \"duplicates\":{duplicates}}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence;

    const CONNECT_311: &[u8] = b"\0\x04MQTT\x04\x02\0\x3c\0\0";

    fn take(sink: &mut Sink, first_byte: u8, body: &[u8]) -> bool {
        sink.take(&Packet { first_byte, body })
            .expect("a valid packet")
    }

    #[test]
    fn every_quality_of_service_is_counted_and_acknowledged() {
        let mut sink = Sink::default();
        assert!(take(&mut sink, 0x10, CONNECT_311));
        sink.replies.clear();
        let publish = |number, identifier: &[u8]| {
            [
                &b"\0\x01t"[..],
                identifier,
                &sequence::payload(number, 64)[..],
            ]
            .concat()
        };
        assert!(take(&mut sink, 0x30, &publish(0, &[])));
        assert!(take(&mut sink, 0x32, &publish(1, &[0, 5])));
        assert!(take(&mut sink, 0x34, &publish(2, &[0, 6])));
        assert!(take(&mut sink, 0x62, &[0, 6]));
        assert!(take(&mut sink, 0x32, b"\0\x01t\0\x07"));
        assert!(!take(&mut sink, 0xe0, &[]));
        let expected = [
            [0x40, 2, 0, 5],
            [0x50, 2, 0, 6],
            [0x70, 2, 0, 6],
            [0x40, 2, 0, 7],
        ];
        assert_eq!(sink.replies, expected.concat());
        assert_eq!(
            sink.report(),
            r#"{"messages":3,"lost":0,"reordered":0,"duplicates":0}"#
        );
    }

    #[test]
    fn properties_of_version_5_are_skipped() {
        let mut sink = Sink::default();
        assert!(take(&mut sink, 0x10, b"\0\x04MQTT\x05\x02\0\x3c\0\0\0"));
        let payload = sequence::payload(0, 8);
        assert!(take(
            &mut sink,
            0x30,
            &[&b"\0\x01t\x02\x01\x01"[..], &payload[..]].concat()
        ));
        assert_eq!(sink.check.messages, 1);
        assert_eq!(sink.check.lost, 0);
    }

    #[test]
    fn a_packet_before_connect_is_refused() {
        let packet = Packet {
            first_byte: 0xc0,
            body: &[],
        };
        assert!(Sink::default().take(&packet).is_err());
    }
}
