//! What stands before a broker on its links: a recorder that sees their bytes, or a replay that serves them in its stead.

use std::collections::HashMap;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use ferromqtt_recording::{ClosedBy, RecordedLink, Recorder, Recording};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::options::BrokerOptions;
use crate::replay::{Replay, ReplayError};

/// A broker has none before somebody asks for a recorder or a replay.
#[derive(Debug, Default)]
pub(crate) struct BrokerFront {
    recorder: Option<Recorder>,
    links: HashMap<ConnectionId, FrontLink>,
    replay: Option<Replay>,
}

/// A link that is recorded.
#[derive(Debug)]
struct FrontLink {
    link: RecordedLink,
    /// How many bytes at the front of the host's input are recorded, and wait for the end of their packet.
    seen: usize,
}

impl Broker {
    /// A broker that plays the server's side of `recording` again, for clients that do the same as then.
    ///
    /// It keeps a [journal](Self::journal) of 10,000 packets, in which each PUBLISH of a client that fits the recording is a
    /// message that it has accepted, and it is [idle](Self::is_idle) while it waits for a client. Of
    /// [`stats`](Self::stats) it counts the connections. It has no sessions and makes no faults:
    /// [`add_fault`](Self::add_fault) is refused, and the verbs for links, clients and the whole broker do nothing.
    ///
    /// Each connection plays the next link of the recording with the same Client Identifier; one whose identifier the recording
    /// does not know plays the next of all. The packets of a client have to be of the same type, topic or filters, and QoS as
    /// in the recording, and acknowledge the same packets; their payloads and properties may differ. What the server sent is
    /// sent as much later than the line before it as then, with the Packet Identifiers that the client has now. PINGREQ is
    /// answered whenever it comes. The first packet that does not fit closes all connections:
    /// [`check_replay`](Self::check_replay) says why.
    ///
    /// # Errors
    /// When the recording has no payloads, or holds a packet of the server that was not recorded as a whole.
    pub fn from_recording(recording: &Recording) -> Result<Self, ReplayError> {
        let mut broker = Self::new(BrokerOptions::default());
        broker.front = Some(Box::new(BrokerFront {
            replay: Some(Replay::new(recording)?),
            ..BrokerFront::default()
        }));
        Ok(broker)
    }

    /// Records the connections that are opened from now on: what the clients see, also where a fault is in the way.
    pub fn record(&mut self, recorder: Recorder) {
        self.front.get_or_insert_default().recorder = Some(recorder);
    }

    /// Whether the replay went as it was recorded, and is finished. Of a broker that replays nothing, always.
    ///
    /// # Errors
    /// The first difference, or what is left.
    pub fn check_replay(&self) -> Result<(), ReplayError> {
        match self.replay() {
            Some(replay) => replay.result(),
            None => Ok(()),
        }
    }

    /// The replay that serves in the broker's stead.
    pub(crate) fn replay(&self) -> Option<&Replay> {
        self.front.as_deref()?.replay.as_ref()
    }

    /// As [`Self::replay`], to be changed.
    pub(crate) fn replay_mut(&mut self) -> Option<&mut Replay> {
        self.front.as_deref_mut()?.replay.as_mut()
    }

    /// A transport was opened. Returns whether a replay serves it.
    pub(crate) fn front_open(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(front) = self.front.as_deref_mut() else {
            return false;
        };
        if let Some(recorder) = &front.recorder {
            let link = recorder.open(now);
            front.links.insert(id, FrontLink { link, seen: 0 });
        }
        let Some(replay) = &mut front.replay else {
            return false;
        };
        replay.open(now, id);
        true
    }

    pub(crate) fn front_input(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        if let Some(recorded) = self.front_link(id) {
            recorded
                .link
                .to_server(now, input.get(recorded.seen..).unwrap_or_default());
        }
        match self.replay_mut() {
            Some(replay) => replay.handle_input(now, id, input),
            None => self.pass_input(now, id, input),
        }
        if let Some(recorded) = self.front_link(id) {
            recorded.seen = input.len();
        }
    }

    pub(crate) fn front_closed(&mut self, now: Instant, id: ConnectionId) {
        self.end_recorded(now, id, ClosedBy::Client);
        match self.replay_mut() {
            Some(replay) => replay.closed(now, id),
            None => self.pass_end(now, id),
        }
    }

    pub(crate) fn front_transmit(&mut self, id: ConnectionId) -> Option<Bytes> {
        let bytes = match self.replay_mut() {
            Some(replay) => replay.poll_transmit(id),
            None => self.pass_transmit(id),
        }?;
        let now = self.now?;
        if let Some(recorded) = self.front_link(id) {
            recorded.link.to_client(now, &bytes);
        }
        Some(bytes)
    }

    pub(crate) fn front_close(&mut self) -> Option<ConnectionId> {
        let now = self.now?;
        let id = match self.replay_mut() {
            Some(replay) => replay.poll_close(now),
            None => self.pass_close(),
        }?;
        self.end_recorded(now, id, ClosedBy::Server);
        Some(id)
    }

    fn end_recorded(&mut self, now: Instant, id: ConnectionId, by: ClosedBy) {
        if let Some(front) = self.front.as_deref_mut()
            && let Some(recorded) = front.links.remove(&id)
        {
            recorded.link.close(now, by);
        }
    }

    fn front_link(&mut self, id: ConnectionId) -> Option<&mut FrontLink> {
        self.front.as_deref_mut()?.links.get_mut(&id)
    }
}
