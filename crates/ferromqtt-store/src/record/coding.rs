//! The bytes of records. Reading is total: a record that is not as it should be is none.

use std::num::NonZeroU16;

use bytes::{BufMut, BytesMut};
use ferromqtt_proto::codec::FixedHeader;
use ferromqtt_proto::packet::{PacketId, ProtocolVersion, PublishRef};
use ferromqtt_proto::{Publish, QoS};

use super::{
    AcceptedMessage, EndedHow, LogRecord, PlacedMessage, SendState, StoreCounters, StoreIdentity,
    quarantine_of_parts, quarantine_parts,
};
use crate::fields::{RecordFields, put_text, put_varint, varint_len};

const KEEP_LATEST: u8 = 1;

/// The kinds that most records are of.
const ACCEPTED: u8 = 1;
const PLACED: u8 = 23;

impl<'a> LogRecord<'a> {
    /// Reads the record at the front of `body`, and moves `body` behind it.
    ///
    /// Returns `Err(())` when there is none, and `Ok(None)` for a kind that is not known.
    pub(crate) fn read(body: &mut &'a [u8]) -> Result<Option<Self>, ()> {
        let mut fields = RecordFields::new(body);
        let (kind, record) = Self::read_header(&mut fields).ok_or(())?;
        *body = fields.rest();
        Self::read_fields(kind, RecordFields::new(record)).ok_or(())
    }

    fn read_header(fields: &mut RecordFields<'a>) -> Option<(u8, &'a [u8])> {
        let kind = fields.u8()?;
        let length = usize::try_from(fields.varint()?).ok()?;
        Some((kind, fields.bytes(length)?))
    }

    /// `Some(None)` for a kind that is not known, `None` for wrong fields. What follows the known fields is a later version's.
    fn read_fields(kind: u8, mut fields: RecordFields<'a>) -> Option<Option<Self>> {
        let packet_id = |fields: &mut RecordFields<'a>| PacketId::new(fields.u16()?);
        Some(Some(match kind {
            ACCEPTED => Self::Accepted(AcceptedMessage::read(fields)?),
            2 => Self::Sending {
                key: fields.varint()?,
                packet_id: packet_id(&mut fields)?,
            },
            3 => Self::Releasing {
                key: fields.varint()?,
            },
            4 => {
                let from = fields.varint()?;
                Self::Ended {
                    from,
                    to: from.checked_add(fields.varint()?)?,
                    how: EndedHow::from_parts(fields.u8()?, fields.u8()?),
                }
            }
            5 => Self::Received {
                packet_id: packet_id(&mut fields)?,
            },
            6 => Self::Released {
                packet_id: packet_id(&mut fields)?,
            },
            8 => Self::SessionLost,
            9 => Self::Quarantined {
                key: fields.varint()?,
                why: quarantine_of_parts(fields.u8()?, fields.u8()?),
                at: fields.varint()?,
            },
            11 => Self::Identity(StoreIdentity {
                client_identifier: fields.text()?.to_owned(),
                made_at: fields.varint()?,
            }),
            12 => Self::Clock(fields.varint()?),
            13 => Self::Index {
                first: fields.varint()?,
                last: fields.varint()?,
            },
            14 => Self::Floor {
                segment: fields.u32()?,
                frame: fields.varint()?,
            },
            15 => Self::Connecting,
            16 => Self::Retired {
                packet_id: packet_id(&mut fields)?,
            },
            17 => Self::SendState {
                key: fields.varint()?,
                state: SendState {
                    packet_id: NonZeroU16::new(fields.u16()?),
                    order: fields.varint()?,
                    tries: fields.u32()?,
                    released: match fields.varint()? {
                        0 => None,
                        released => Some(released - 1),
                    },
                },
            },
            18 => Self::Predecessor {
                segment: fields.u32()?,
                frame: fields.varint()?,
                end: fields.u32()?,
            },
            19 => Self::NextKey(fields.varint()?),
            20 => Self::Inbound {
                connecting: fields.u8()? != 0,
                received: read_ids(&mut fields)?,
                retired: read_ids(&mut fields)?,
            },
            21 => {
                let mut counters = StoreCounters::default();
                for counter in counters.fields() {
                    *counter = fields.varint()?;
                }
                Self::Counters(counters)
            }
            22 => Self::DamageNoted {
                segment: fields.u32()?,
                frame: fields.varint()?,
            },
            PLACED => Self::Placed(read_placed(fields)?),
            24 => Self::Passed {
                count: fields.varint()?,
                how: EndedHow::from_parts(fields.u8()?, fields.u8()?),
            },
            25 => Self::Resumed,
            26 => Self::ReceivedLost,
            _ => return Some(None),
        }))
    }

    /// Appends the record.
    pub(crate) fn put(&self, out: &mut BytesMut) {
        if let Self::Accepted(message) = self {
            message.put(out);
            return;
        }
        let mut fields = BytesMut::new();
        let kind = self.put_fields(&mut fields);
        out.put_u8(kind);
        put_varint(out, fields.len() as u64);
        out.put_slice(&fields);
    }

    fn put_fields(&self, out: &mut BytesMut) -> u8 {
        match self {
            Self::Accepted(message) => {
                message.put_fields(out);
                out.put_slice(message.publish);
                ACCEPTED
            }
            Self::Sending { key, packet_id } => {
                put_varint(out, *key);
                put_varint(out, packet_id.get().into());
                2
            }
            Self::Releasing { key } => {
                put_varint(out, *key);
                3
            }
            Self::Ended { from, to, how } => {
                put_varint(out, *from);
                put_varint(out, to.saturating_sub(*from));
                let (how, code) = how.parts();
                out.put_slice(&[how, code]);
                4
            }
            Self::Received { packet_id } => {
                put_varint(out, packet_id.get().into());
                5
            }
            Self::Released { packet_id } => {
                put_varint(out, packet_id.get().into());
                6
            }
            Self::SessionLost => 8,
            Self::Quarantined { key, why, at } => {
                put_varint(out, *key);
                let (why, code) = quarantine_parts(*why);
                out.put_slice(&[why, code]);
                put_varint(out, *at);
                9
            }
            Self::Identity(identity) => {
                put_text(out, &identity.client_identifier);
                put_varint(out, identity.made_at);
                11
            }
            Self::Clock(clock) => {
                put_varint(out, *clock);
                12
            }
            Self::Index { first, last } => {
                put_varint(out, *first);
                put_varint(out, *last);
                13
            }
            Self::Floor { segment, frame } => {
                put_varint(out, u64::from(*segment));
                put_varint(out, *frame);
                14
            }
            Self::Connecting => 15,
            Self::Retired { packet_id } => {
                put_varint(out, packet_id.get().into());
                16
            }
            Self::SendState { key, state } => {
                put_varint(out, *key);
                put_varint(out, state.packet_id.map_or(0, PacketId::get).into());
                put_varint(out, state.order);
                put_varint(out, state.tries.into());
                put_varint(out, state.released.map_or(0, |it| it.saturating_add(1)));
                17
            }
            Self::Predecessor {
                segment,
                frame,
                end,
            } => {
                put_varint(out, u64::from(*segment));
                put_varint(out, *frame);
                put_varint(out, u64::from(*end));
                18
            }
            Self::NextKey(key) => {
                put_varint(out, *key);
                19
            }
            Self::Inbound {
                connecting,
                received,
                retired,
            } => {
                out.put_u8((*connecting).into());
                for ids in [received, retired] {
                    put_varint(out, ids.len() as u64);
                    (ids.iter()).for_each(|id| put_varint(out, id.get().into()));
                }
                20
            }
            Self::Counters(counters) => {
                let mut counters = *counters;
                for counter in counters.fields() {
                    put_varint(out, *counter);
                }
                21
            }
            Self::DamageNoted { segment, frame } => {
                put_varint(out, u64::from(*segment));
                put_varint(out, *frame);
                22
            }
            Self::Placed(messages) => {
                put_placed(out, messages);
                PLACED
            }
            Self::Resumed => 25,
            Self::ReceivedLost => 26,
            Self::Passed { count, how } => {
                put_varint(out, *count);
                let (how, code) = how.parts();
                out.put_slice(&[how, code]);
                24
            }
        }
    }
}

impl<'a> AcceptedMessage<'a> {
    fn read(mut fields: RecordFields<'a>) -> Option<Self> {
        Some(Self {
            key: fields.varint()?,
            accepted_at: fields.varint()?,
            expires_at: fields.varint()?,
            keep_latest: fields.u8()? & KEEP_LATEST != 0,
            publish: fields.rest(),
        })
    }

    fn put_fields(&self, out: &mut BytesMut) {
        put_varint(out, self.key);
        put_varint(out, self.accepted_at);
        put_varint(out, self.expires_at);
        out.put_u8(if self.keep_latest { KEEP_LATEST } else { 0 });
    }

    fn fields_len(&self) -> usize {
        1 + [self.key, self.accepted_at, self.expires_at]
            .map(varint_len)
            .iter()
            .sum::<usize>()
    }

    /// Appends the record without a buffer between, since this is where the bytes are.
    fn put(&self, out: &mut BytesMut) {
        self.put_header(self.publish.len(), out);
        out.put_slice(self.publish);
    }

    fn put_header(&self, publish_len: usize, out: &mut BytesMut) {
        let length = self.fields_len() + publish_len;
        out.reserve(length + 11);
        out.put_u8(ACCEPTED);
        put_varint(out, length as u64);
        self.put_fields(out);
    }

    /// Appends the record of a message; `self.publish` is left out of account.
    pub(crate) fn put_publish(&self, publish: &Publish, out: &mut BytesMut) {
        let packet = PublishRef {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.as_utf8().as_bytes(),
            packet_id: (publish.qos != QoS::AtMostOnce).then_some(PacketId::MIN),
            properties: publish.properties.as_deref(),
            payload_len: publish.payload.len(),
        };
        self.put_header(packet.packet_len(ProtocolVersion::V5), out);
        packet.encode_header(ProtocolVersion::V5, out);
        out.put_slice(&publish.payload);
    }

    /// The Topic Name, read without decoding the packet.
    pub(crate) fn topic(&self) -> Option<&'a [u8]> {
        let header = FixedHeader::read(self.publish).ok()??;
        let (length, rest) = (self.publish.get(header.header_len..)?).split_at_checked(2)?;
        let length = u16::from_be_bytes(length.try_into().ok()?);
        rest.get(..length.into())
    }
}

/// How many bytes the topic, the payload and the properties of a message take at least, by the length of its record.
pub(crate) fn contents_size(size: u32, key: u64, expires_at: u64) -> usize {
    const KIND: usize = 1;
    const ACCEPTED_AT: usize = 6; // from 2004 to 2109
    const FLAGS: usize = 1;
    const PACKET: usize = 1 + 2 + 2 + 1; // its first byte, and the lengths of the topic, the identifier and the properties
    let lengths = 2 * varint_len(size.into());
    let fields = varint_len(key) + ACCEPTED_AT + varint_len(expires_at) + FLAGS;
    (size as usize).saturating_sub(KIND + lengths + fields + PACKET)
}

fn read_ids(fields: &mut RecordFields<'_>) -> Option<Vec<PacketId>> {
    let count = fields.varint()?;
    let mut ids = Vec::new(); // grows with what is there: the count is only a claim
    for _ in 0..count {
        ids.push(PacketId::new(fields.u16()?)?);
    }
    Some(ids)
}

/// Each message is told by its difference from the one before: keys and places rise, mostly by the same.
fn put_placed(out: &mut BytesMut, messages: &[PlacedMessage]) {
    let mut before = PlacedMessage::start();
    for message in messages {
        put_varint(out, message.key.wrapping_sub(before.key));
        let same_frame = message.frame_at == before.frame_at;
        let has_expiry = message.expires_at != 0;
        let has_topic = message.topic_hash != 0;
        let flags = u8::from(same_frame) | u8::from(has_expiry) << 1 | u8::from(has_topic) << 2;
        out.put_u8(flags);
        if !same_frame {
            put_varint(out, message.frame_at.into());
        }
        put_varint(out, message.record_at.into());
        put_varint(out, message.size.into());
        if has_expiry {
            put_varint(out, message.expires_at);
        }
        if has_topic {
            put_varint(out, message.topic_hash);
        }
        before = *message;
    }
}

fn read_placed(mut fields: RecordFields<'_>) -> Option<Vec<PlacedMessage>> {
    let mut messages = Vec::new();
    let mut before = PlacedMessage::start();
    while !fields.is_empty() {
        let key = before.key.wrapping_add(fields.varint()?);
        let flags = fields.u8()?;
        before = PlacedMessage {
            key,
            frame_at: match flags & 1 {
                0 => fields.u32()?,
                _ => before.frame_at,
            },
            record_at: fields.u32()?,
            size: fields.u32()?,
            expires_at: if flags & 2 == 0 { 0 } else { fields.varint()? },
            topic_hash: if flags & 4 == 0 { 0 } else { fields.varint()? },
        };
        messages.push(before);
    }
    Some(messages)
}

impl PlacedMessage {
    const fn start() -> Self {
        Self {
            key: 0,
            frame_at: 0,
            record_at: 0,
            size: 0,
            expires_at: 0,
            topic_hash: 0,
        }
    }
}

/// The records of a frame's body, each with its place in the body. Ends at the first that cannot be read.
#[derive(Clone)]
pub(crate) struct Records<'a> {
    body: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { body, rest: body }
    }

    /// The records but for those of messages and their places, which are nearly all, and are passed over without being read.
    pub(crate) fn beside_messages(body: &'a [u8]) -> impl Iterator<Item = LogRecord<'a>> {
        let mut rest = RecordFields::new(body);
        let headers = std::iter::from_fn(move || LogRecord::read_header(&mut rest));
        let beside = headers.filter(|(kind, _)| !matches!(*kind, ACCEPTED | PLACED));
        beside
            .map_while(|(kind, record)| LogRecord::read_fields(kind, RecordFields::new(record)))
            .flatten()
    }
}

/// A record, where it begins in its frame's body, and its length.
pub(crate) struct RecordAt<'a> {
    pub(crate) at: usize,
    pub(crate) size: usize,
    pub(crate) record: LogRecord<'a>,
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordAt<'a>;

    fn next(&mut self) -> Option<RecordAt<'a>> {
        while !self.rest.is_empty() {
            let at = self.body.len() - self.rest.len();
            let Ok(record) = LogRecord::read(&mut self.rest) else {
                self.rest = &[];
                return None;
            };
            if let Some(record) = record {
                let size = self.body.len() - self.rest.len() - at;
                return Some(RecordAt { at, size, record });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use ferromqtt_proto::TopicName;
    use ferromqtt_proto::packet::MESSAGE_OVERHEAD;

    use super::*;

    #[test]
    fn the_size_of_what_a_message_holds_follows_from_its_record() {
        let lengths = (0..300).chain(16_300..16_500).chain([200_000, 3_000_000]);
        for length in lengths {
            for (key, expires_at) in [(1, 0), (300, 1_790_000_000_000), (1 << 40, 1)] {
                let mut publish = Publish::new(TopicName::new("t/level").unwrap(), vec![0; length]);
                for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                    publish.qos = qos;
                    let accepted = AcceptedMessage {
                        key,
                        accepted_at: 1_780_000_000_000,
                        expires_at,
                        keep_latest: false,
                        publish: &[],
                    };
                    let mut record = BytesMut::new();
                    accepted.put_publish(&publish, &mut record);
                    let size = u32::try_from(record.len()).unwrap();
                    let told = contents_size(size, key, expires_at);
                    let holds = publish.memory_size() - MESSAGE_OVERHEAD;
                    assert!(told <= holds && told + 4 >= holds, "{told} of {holds}");
                }
            }
        }
    }
}
