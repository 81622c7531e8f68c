//! The little of the wire format that the far side needs.

use std::io::{self, Read};

pub(crate) const CONNECT: u8 = 1;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const PUBREL: u8 = 6;
pub(crate) const SUBSCRIBE: u8 = 8;
pub(crate) const UNSUBSCRIBE: u8 = 10;
pub(crate) const PINGREQ: u8 = 12;
pub(crate) const DISCONNECT: u8 = 14;

pub(crate) const PINGRESP: [u8; 2] = [0xd0, 0];

/// First bytes of the four acknowledgements that are two more bytes and a Packet Identifier.
pub(crate) const PUBACK_HEADER: [u8; 2] = [0x40, 2];
pub(crate) const PUBREC_HEADER: [u8; 2] = [0x50, 2];
pub(crate) const PUBCOMP_HEADER: [u8; 2] = [0x70, 2];

/// Room for several thousand small packets: few system calls per message.
const BUFFER_SIZE: usize = 256 * 1024;

/// Protocol Level of MQTT 5.0 in CONNECT.
const LEVEL_5: u8 = 5;

/// One whole MQTT Control Packet.
pub(crate) struct Packet<'a> {
    pub(crate) first_byte: u8,
    pub(crate) body: &'a [u8],
}

impl Packet<'_> {
    pub(crate) fn packet_type(&self) -> u8 {
        self.first_byte >> 4
    }
}

/// Reads a socket in large pieces and hands out whole packets.
pub(crate) struct PacketReader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl PacketReader {
    pub(crate) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_SIZE],
            start: 0,
            end: 0,
        }
    }

    /// One read. False at the end of the stream.
    pub(crate) fn fill(&mut self, mut stream: impl Read) -> io::Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let count = stream.read(&mut self.buffer[self.end..])?;
        self.end += count;
        Ok(count > 0)
    }

    /// The next packet that has arrived whole.
    #[inline]
    pub(crate) fn next_packet(&mut self) -> io::Result<Option<Packet<'_>>> {
        let unread = &self.buffer[self.start..self.end];
        let Some((header_size, body_size)) = fixed_header(unread)? else {
            return Ok(None);
        };
        if unread.len() < header_size + body_size {
            return Ok(None);
        }
        self.start += header_size + body_size;
        Ok(Some(Packet {
            first_byte: unread[0],
            body: &unread[header_size..header_size + body_size],
        }))
    }
}

/// Size of the fixed header and Remaining Length, once both are there.
fn fixed_header(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match variable_byte_integer(&bytes[1..]) {
        Some((size, value)) => Ok(Some((1 + size, value))),
        None if bytes.len() > 4 => Err(malformed("a Remaining Length of more than four bytes")),
        None => Ok(None),
    }
}

/// Bytes taken and value.
fn variable_byte_integer(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((index + 1, value));
        }
    }
    None
}

/// Takes fields from the front of a packet's body.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or_else(|| malformed("a packet that ends inside a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> io::Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub(crate) fn two_bytes(&mut self) -> io::Result<u16> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// A UTF-8 string or binary data: both are a length of two bytes and that many bytes.
    pub(crate) fn text(&mut self) -> io::Result<&'a [u8]> {
        let size = self.two_bytes()?;
        self.bytes(usize::from(size))
    }

    pub(crate) fn properties(&mut self) -> io::Result<&'a [u8]> {
        let (size, value) = variable_byte_integer(self.0)
            .ok_or_else(|| malformed("a Property Length of more than four bytes"))?;
        self.bytes(size)?;
        self.bytes(value)
    }
}

/// What a CONNECT says that matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connect {
    pub(crate) is_version_5: bool,
    pub(crate) receive_maximum: u16,
}

impl Connect {
    pub(crate) fn parse(packet: &Packet<'_>) -> io::Result<Self> {
        if packet.packet_type() != CONNECT {
            return Err(malformed("a first packet that is not CONNECT"));
        }
        let mut fields = Fields(packet.body);
        fields.text()?; // Protocol Name
        let is_version_5 = fields.byte()? == LEVEL_5;
        fields.byte()?; // Connect Flags
        fields.two_bytes()?; // Keep Alive
        let receive_maximum = if is_version_5 {
            find_receive_maximum(fields.properties()?)?
        } else {
            u16::MAX
        };
        Ok(Self {
            is_version_5,
            receive_maximum,
        })
    }

    /// CONNACK: accepted, no session.
    pub(crate) fn acknowledgement(self) -> &'static [u8] {
        if self.is_version_5 {
            &[0x20, 3, 0, 0, 0]
        } else {
            &[0x20, 2, 0, 0]
        }
    }
}

/// Receive Maximum among the properties of a CONNECT; 65,535 if it is absent.
fn find_receive_maximum(properties: &[u8]) -> io::Result<u16> {
    let mut fields = Fields(properties);
    while !fields.0.is_empty() {
        match fields.byte()? {
            0x21 => match fields.two_bytes()? {
                0 => return Err(malformed("a Receive Maximum of 0")),
                maximum => return Ok(maximum),
            },
            0x22 => drop(fields.two_bytes()?),
            0x17 | 0x19 => drop(fields.byte()?),
            0x11 | 0x27 => drop(fields.bytes(4)?),
            0x15 | 0x16 => drop(fields.text()?),
            0x26 => drop((fields.text()?, fields.text()?)),
            _ => return Err(malformed("a property that CONNECT does not have")),
        }
    }
    Ok(u16::MAX)
}

/// SUBACK, and the first Topic Filter with its Maximum QoS.
pub(crate) fn answer_subscribe(body: &[u8], connect: Connect) -> io::Result<(Vec<u8>, &[u8], u8)> {
    let mut fields = Fields(body);
    let mut acknowledgement = fields.bytes(2)?.to_vec(); // Packet Identifier
    if connect.is_version_5 {
        fields.properties()?;
        acknowledgement.push(0);
    }
    let mut first = None;
    while !fields.0.is_empty() {
        let filter = fields.text()?;
        let qos = fields.byte()? & 0x03;
        acknowledgement.push(qos);
        first.get_or_insert((filter, qos));
    }
    let (filter, qos) = first.ok_or_else(|| malformed("a SUBSCRIBE without Topic Filter"))?;
    Ok((with_fixed_header(0x90, &acknowledgement), filter, qos))
}

/// UNSUBACK.
pub(crate) fn answer_unsubscribe(body: &[u8], connect: Connect) -> io::Result<Vec<u8>> {
    let mut fields = Fields(body);
    let mut acknowledgement = fields.bytes(2)?.to_vec(); // Packet Identifier
    if connect.is_version_5 {
        fields.properties()?;
        acknowledgement.push(0);
        while !fields.0.is_empty() {
            fields.text()?;
            acknowledgement.push(0);
        }
    }
    Ok(with_fixed_header(0xb0, &acknowledgement))
}

/// Any packet from its first byte and its body.
pub(crate) fn with_fixed_header(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first_byte];
    let mut remaining = body.len();
    loop {
        let digit = (remaining & 0x7f) as u8;
        remaining >>= 7;
        if remaining == 0 {
            packet.push(digit);
            break;
        }
        packet.push(digit | 0x80);
    }
    packet.extend_from_slice(body);
    packet
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the client sent {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_whatever_the_size_of_the_reads() {
        let large = with_fixed_header(0x30, &vec![7; 300_000]);
        let stream = [&large[..], &PINGRESP, &PUBACK_HEADER, &[0, 9]].concat();
        for piece in [1000, 70_000, stream.len()] {
            let mut reader = PacketReader::new();
            let mut found = Vec::new();
            for bytes in stream.chunks(piece) {
                let mut rest = bytes;
                while !rest.is_empty() {
                    assert!(reader.fill(&mut rest).expect("a slice can be read"));
                }
                while let Some(packet) = reader.next_packet().expect("well-formed packets") {
                    found.push((packet.first_byte, packet.body.len()));
                }
            }
            assert_eq!(found, [(0x30, 300_000), (0xd0, 0), (0x40, 2)]);
        }
    }

    #[test]
    fn receive_maximum_is_found_behind_other_properties() {
        let properties = [0x11, 0, 0, 0, 5, 0x26, 0, 1, b'a', 0, 0, 0x21, 0, 20];
        let mut body = b"\0\x04MQTT\x05\x02\0\x3c".to_vec();
        body.push(properties.len() as u8);
        body.extend_from_slice(&properties);
        body.extend_from_slice(&[0, 0]);
        let connect = Connect::parse(&Packet {
            first_byte: 0x10,
            body: &body,
        });
        let expected = Connect {
            is_version_5: true,
            receive_maximum: 20,
        };
        assert_eq!(connect.expect("a valid CONNECT"), expected);
    }

    #[test]
    fn suback_grants_what_was_asked_in_both_versions() {
        for (is_version_5, body, expected) in [
            (
                false,
                &b"\0\x07\0\x01a\x01\0\x01b\x00"[..],
                &[0x90, 4, 0, 7, 1, 0][..],
            ),
            (
                true,
                b"\0\x07\0\0\x01a\x01\0\x01b\x00",
                &[0x90, 5, 0, 7, 0, 1, 0],
            ),
        ] {
            let connect = Connect {
                is_version_5,
                receive_maximum: u16::MAX,
            };
            let (suback, filter, qos) = answer_subscribe(body, connect).expect("valid");
            assert_eq!((&suback[..], filter, qos), (expected, &b"a"[..], 1));
        }
    }

    #[test]
    fn an_endless_remaining_length_is_refused() {
        let mut reader = PacketReader::new();
        reader
            .fill(&[0x30, 0xff, 0xff, 0xff, 0xff, 1][..])
            .expect("a slice can be read");
        assert!(reader.next_packet().is_err());
    }
}
