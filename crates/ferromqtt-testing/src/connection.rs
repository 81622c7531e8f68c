//! One Network Connection.

use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{ProtocolVersion, Will};

use crate::aliases::Aliases;
use crate::message::Wire;
use crate::output::Output;
use crate::session::SessionId;

/// Names a connection of a [`Broker`](crate::Broker). Numbers count up and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) output: Output,
    /// Whether it stands in the broker's list of connections with output.
    pub(crate) listed: bool,
}

/// What a connection is in the middle of.
#[derive(Debug)]
pub(crate) enum Phase {
    /// Nothing but CONNECT may come, and not later than this.
    AwaitingConnect { deadline: Instant },
    /// Between CONNACK and the end.
    Connected(Connected),
    /// What comes is thrown away; what is left to write may take this long.
    Closing { deadline: Instant },
}

/// What a client agreed on with CONNECT.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) version: ProtocolVersion,
    pub(crate) session: SessionId,
    pub(crate) keep_alive: u16,
    pub(crate) last_input: Instant,
    pub(crate) maximum_packet_size: usize,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) aliases: Aliases,
}

impl Connected {
    /// One and a half times the Keep Alive after the last packet (MQTT-3.1.2-22).
    fn keep_alive_deadline(&self) -> Option<Instant> {
        let grace = Duration::from_millis(1500 * u64::from(self.keep_alive));
        (self.keep_alive > 0).then(|| self.last_input + grace)
    }
}

impl Connection {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            phase: Phase::AwaitingConnect { deadline },
            output: Output::default(),
            listed: false,
        }
    }

    pub(crate) const fn connected(&self) -> Option<&Connected> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected),
            _ => None,
        }
    }

    /// The time at which the broker gives up on it, if nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::AwaitingConnect { deadline } | Phase::Closing { deadline } => Some(*deadline),
            Phase::Connected(connected) => connected.keep_alive_deadline(),
        }
    }

    /// Where PUBLISH packets to the client are written, while it is connected.
    pub(crate) const fn wire(&mut self) -> Option<Wire<'_>> {
        match &self.phase {
            Phase::Connected(connected) => Some(Wire {
                version: connected.version,
                maximum_packet_size: connected.maximum_packet_size,
                output: &mut self.output,
            }),
            _ => None,
        }
    }
}
