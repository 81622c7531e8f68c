//! Reading what a log holds: one message, all of them, and the session.

use bytes::Bytes;
use ferromqtt_proto::packet::{self, Packet, ProtocolVersion};
use ferromqtt_proto::{Direction, PacketId, Publish, SessionChange, TopicName, debug_fields};

use crate::disk::{Disk, DiskError, DiskOperation};
use crate::entries::PendingMessage;
use crate::frame::{FRAME_HEADER, FrameAt, FrameHeader};
use crate::log::StoreLog;
use crate::record::{
    AcceptedMessage, LogRecord, SendState, StoreCounters, StoreIdentity, contents_size,
};
use crate::state::Quarantine;

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// Its bytes are not those that were written.
    Damaged,
    /// The disk did not read them.
    Disk(DiskError),
}

/// What is known of a message that has not ended, beside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredInfo {
    /// Its key.
    pub key: u64,
    /// How many bytes it takes on the disk.
    pub size: u32,
    /// When it must no longer be sent, in milliseconds since 1970.
    pub expires_at: Option<u64>,
    /// The [hash](crate::topic_hash) of its topic, if a newer message to that takes its place.
    pub latest_of: Option<u64>,
    /// How far its sending has come; `None` is not begun.
    pub sent: Option<SendState>,
    /// Whether it is kept and not sent.
    pub quarantine: Option<Quarantine>,
}

impl StoredInfo {
    /// How many bytes its topic, payload and properties take, as far as that is known without reading it: never more, and exact but
    /// for 2 bytes at QoS 0 and a few where there are properties or lengths of around 128 or 16,384.
    pub fn contents_size(&self) -> usize {
        contents_size(self.size, self.key, self.expires_at.unwrap_or(0))
    }
}

/// A message that has not ended. `Debug` shows the length of its payload.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredPublish {
    /// Its key.
    pub key: u64,
    /// The message. It shares no memory with others.
    pub publish: Publish,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_at: u64,
    /// When it must no longer be sent, likewise.
    pub expires_at: Option<u64>,
    /// A newer message to the same topic takes its place while it waits.
    pub keep_latest: bool,
}

impl StoredPublish {
    /// A message that was accepted at a time that is not known, and may wait for as long as it takes.
    pub const fn new(key: u64, publish: Publish) -> Self {
        Self {
            key,
            publish,
            accepted_at: 0,
            expires_at: None,
            keep_latest: false,
        }
    }
}

debug_fields!(StoredPublish {
    key,
    publish,
    accepted_at,
    expires_at,
    keep_latest
});

/// What a log holds, in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Messages that have not ended, those in quarantine included.
    pub messages: usize,
    /// Their records' bytes.
    pub message_bytes: u64,
    /// Messages in quarantine.
    pub quarantined: usize,
    /// Messages on the wire, or that were.
    pub in_flight: usize,
    /// The files' bytes.
    pub disk_bytes: u64,
    /// How many files they are.
    pub segments: usize,
    /// Frames written since the store was made: as many as before when nobody has changed it.
    pub frames: u64,
    /// Messages that took this or that way since the store was made.
    pub counters: StoreCounters,
}

/// The frame that was read last: messages are mostly read in order, and a frame has many.
#[derive(Default)]
pub(crate) struct FrameCache {
    frame: Option<(u32, u32, Bytes)>,
}

impl FrameCache {
    pub(crate) fn clear(&mut self) {
        self.frame = None;
    }
}

/// Frames that are longer are not kept when a message was read from them.
const LONGEST_CACHED: usize = 2 << 20;

impl<D: Disk> StoreLog<D> {
    /// The messages that have not ended, by their keys.
    pub fn messages(&self) -> impl Iterator<Item = StoredInfo> {
        self.state.pending.iter().map(|message| self.info(message))
    }

    /// The same from the key `from` on.
    pub fn messages_from(&self, from: u64) -> impl Iterator<Item = StoredInfo> {
        let pending = self.state.pending.iter_from(from);
        pending.map(|message| self.info(message))
    }

    fn info(&self, message: &PendingMessage) -> StoredInfo {
        let key = message.key;
        StoredInfo {
            key,
            size: message.size,
            expires_at: some(message.expires_at),
            latest_of: some(message.topic_hash),
            sent: self.state.sends.get(&key).copied(),
            quarantine: self.state.quarantined.get(&key).copied(),
        }
    }

    /// A message that has not ended; `None` when there is none with this key.
    pub fn read(&mut self, key: u64) -> Option<Result<StoredPublish, ReadError>> {
        let message = *self.state.pending.get(key)?;
        Some(self.read_message(&message))
    }

    /// The messages from `from` on that wait to be sent for the first time, in the order of their keys, as far as `room` has it:
    /// it is asked with the size of each, and `false` ends the list.
    pub(crate) fn waiting_from(
        &self,
        from: u64,
        mut room: impl FnMut(u32) -> bool,
    ) -> Vec<PendingMessage> {
        let behind = self.state.pending.iter_from(from);
        let waits = |message: &&PendingMessage| {
            !self.state.sends.contains_key(&message.key)
                && !self.state.quarantined.contains_key(&message.key)
        };
        (behind.filter(waits).copied())
            .take_while(|message| room(message.size))
            .collect()
    }

    pub(crate) fn read_message(
        &mut self,
        message: &PendingMessage,
    ) -> Result<StoredPublish, ReadError> {
        let record = self.bytes_of(message)?;
        let accepted = accepted(&record, message.key)?;
        decode(&record, &accepted).ok_or(ReadError::Damaged)
    }

    /// The bytes of a message's record, out of a frame whose checksum is right.
    pub(crate) fn read_record(&mut self, message: &PendingMessage) -> Result<Bytes, ReadError> {
        let record = self.bytes_of(message)?;
        accepted(&record, message.key)?;
        Ok(record)
    }

    fn bytes_of(&mut self, message: &PendingMessage) -> Result<Bytes, ReadError> {
        let frame = self.read_frame(message.place.segment, message.place.frame_at)?;
        let start = message.place.record_at as usize;
        let end = start.saturating_add(message.size as usize);
        if start > end || end > frame.len() {
            return Err(ReadError::Damaged);
        }
        Ok(frame.slice(start..end))
    }

    fn read_frame(&mut self, segment: u32, at: u32) -> Result<Bytes, ReadError> {
        if let Some((cached, cached_at, frame)) = &self.cache.frame
            && (*cached, *cached_at) == (segment, at)
        {
            return Ok(frame.clone());
        }
        let failed =
            |error| ReadError::Disk(DiskError::new(DiskOperation::Read, Some(segment), &error));
        let header = (self.disk.read(segment, at.into(), FRAME_HEADER)).map_err(failed)?;
        let length = FrameHeader::announced_len(&header).ok_or(ReadError::Damaged)?;
        let there = self.segments.get(&segment).map_or(0, |meta| meta.length);
        if length > there.saturating_sub(at.into()) {
            return Err(ReadError::Damaged); // a length that is wrong is not allocated
        }
        let length = usize::try_from(length).map_err(|_| ReadError::Damaged)?;
        let frame = (self.disk.read(segment, at.into(), length)).map_err(failed)?;
        match FrameHeader::read(segment, &frame) {
            FrameAt::Valid(..) => {}
            _ => return Err(ReadError::Damaged),
        }
        self.cache.frame = (frame.len() <= LONGEST_CACHED).then(|| (segment, at, frame.clone()));
        Ok(frame)
    }

    /// The changes of which [`Session::restore`](ferromqtt_proto::Session::restore) makes the session on record, in this order,
    /// with the messages that are on the wire. A message that is damaged leaves its Packet Identifier unused.
    ///
    /// # Errors
    /// The disk does not read a message.
    pub fn session_changes(&mut self) -> Result<Vec<SessionChange>, DiskError> {
        let mut sends: Vec<_> = (self.state.sends.iter())
            .map(|(&key, &state)| (key, state))
            .collect();
        sends.sort_by_key(|(_, state)| state.order);
        let mut changes = Vec::new();
        for &(key, _) in sends.iter().filter(|(_, it)| it.packet_id.is_none()) {
            // It was sent in a session that is lost, under an identifier that means nothing now.
            changes.extend(self.publishing(key, PacketId::MIN)?);
        }
        if !changes.is_empty() {
            let direction = Direction::Sent;
            changes.push(SessionChange::SessionLost { direction });
        }
        if self.state.connecting {
            changes.push(SessionChange::Connecting);
        }
        let received = self.state.received.iter().copied();
        changes.extend(received.map(|packet_id| SessionChange::Received { packet_id }));
        let retired = self.state.retired.iter().copied();
        changes.extend(retired.map(|packet_id| SessionChange::Retired { packet_id }));
        let mut releasing: Vec<_> = (sends.iter())
            .filter_map(|&(key, it)| Some((it.released?, key, it.packet_id?)))
            .collect();
        releasing.sort_unstable();
        for (_, key, packet_id) in releasing {
            changes.push(SessionChange::Sending { key, packet_id });
            changes.push(SessionChange::Releasing { key });
        }
        for (key, state) in sends {
            if let (Some(packet_id), None) = (state.packet_id, state.released) {
                let publishing = self.publishing(key, packet_id)?;
                changes.push(publishing.unwrap_or(SessionChange::Sending { key, packet_id }));
            }
        }
        Ok(changes)
    }

    fn publishing(
        &mut self,
        key: u64,
        packet_id: PacketId,
    ) -> Result<Option<SessionChange>, DiskError> {
        match self.read(key) {
            None | Some(Err(ReadError::Damaged)) => Ok(None),
            Some(Err(ReadError::Disk(error))) => Err(error),
            Some(Ok(message)) => Ok(Some(SessionChange::Publishing {
                key,
                packet_id,
                publish: message.publish,
            })),
        }
    }

    /// Whose session it is, if that is on record.
    pub const fn identity(&self) -> Option<&StoreIdentity> {
        self.state.identity.as_ref()
    }

    /// Larger than every key that was ever on record.
    pub fn next_key(&self) -> u64 {
        self.state.next_key.max(1)
    }

    /// Whether a CONNECT was about to be sent while inbound Packet Identifiers were on record, and nothing later says that it
    /// was answered: the server may have lost the session, and a PUBLISH without DUP under such an identifier is a new message.
    pub const fn is_connecting(&self) -> bool {
        self.state.connecting
    }

    /// The time by which messages expire when the wall clock says `now`, both in milliseconds since 1970. It is never behind what
    /// was on record before: on a board without a battery, nothing expires until the clock has been set.
    pub fn clock_at(&self, now: u64) -> u64 {
        self.state.clock_at(now)
    }

    /// What the log holds, in figures.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            messages: self.state.pending.len(),
            message_bytes: self.state.bytes,
            quarantined: self.state.quarantined.len(),
            in_flight: self.state.sends.len(),
            disk_bytes: self.segments.values().map(|meta| meta.length).sum(),
            segments: self.segments.len(),
            frames: self.frames(),
            counters: self.state.counters,
        }
    }
}

fn some(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// The record of the message with this key.
fn accepted(record: &[u8], key: u64) -> Result<AcceptedMessage<'_>, ReadError> {
    match LogRecord::read(&mut &record[..]) {
        Ok(Some(LogRecord::Accepted(accepted))) if accepted.key == key => Ok(accepted),
        _ => Err(ReadError::Damaged),
    }
}

/// The message of a record, in memory of its own: a frame is up to a thousand times as large.
fn decode(record: &Bytes, accepted: &AcceptedMessage<'_>) -> Option<StoredPublish> {
    let packet = record.slice_ref(accepted.publish);
    let decoded = packet::decode(&packet, &mut 0, ProtocolVersion::V5);
    let Ok(Packet::Publish(mut publish)) = decoded else {
        return None;
    };
    if let Some(properties) = &mut publish.properties {
        properties.detach();
    }
    Some(StoredPublish {
        key: accepted.key,
        publish: Publish {
            topic: TopicName::new(publish.topic.as_str()).ok()?,
            payload: Bytes::copy_from_slice(&publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            properties: publish.properties,
        },
        accepted_at: accepted.accepted_at,
        expires_at: some(accepted.expires_at),
        keep_latest: accepted.keep_latest,
    })
}
