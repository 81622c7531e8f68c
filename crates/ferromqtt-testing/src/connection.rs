//! One Network Connection.

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{Connect, Packet, PacketId, ProtocolVersion};

use crate::aliases::{BrokerAliases, ClientAliases};
use crate::message::PublishTarget;
use crate::output::ConnectionOutput;
use crate::session::{KeptWill, SessionId};

/// Names a connection of a [`Broker`](crate::Broker). Numbers count up and are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

#[derive(Debug)]
pub(crate) struct BrokerConnection {
    pub(crate) phase: ConnectionPhase,
    pub(crate) output: ConnectionOutput,
    /// Whether it stands in the broker's list of connections with output.
    pub(crate) listed: bool,
}

/// What a connection is in the middle of.
#[derive(Debug)]
pub(crate) enum ConnectionPhase {
    /// Nothing but CONNECT may come, and not later than this.
    AwaitingConnect { deadline: Instant },
    /// CONNECT came. The answer to challenge number `challenge` decides whether it is accepted.
    Connecting {
        connect: Box<Connect>,
        challenge: usize,
        deadline: Instant,
    },
    /// Between CONNACK and the end.
    Connected(Box<ConnectedClient>),
    /// What comes is thrown away; what is left to write may take this long.
    Closing { deadline: Instant },
}

/// What a client agreed on with CONNECT.
#[derive(Debug)]
pub(crate) struct ConnectedClient {
    pub(crate) version: ProtocolVersion,
    pub(crate) session: SessionId,
    pub(crate) keep_alive: u16,
    pub(crate) last_input: Instant,
    /// Bytes of the unfinished packet at the end of the input that have been taken for a sign of life.
    pub(crate) counted: usize,
    pub(crate) maximum_packet_size: usize,
    pub(crate) will: Option<KeptWill>,
    pub(crate) aliases: ClientAliases,
    pub(crate) aliases_out: BrokerAliases,
    /// QoS 2 messages that came on this connection and are not released: the Receive Maximum counts them, and not those
    /// of earlier connections (section 4.9).
    pub(crate) unreleased: HashSet<PacketId>,
    /// Whether CONNECT named an Authentication Method, and the challenge that is to be answered.
    pub(crate) authenticated: bool,
    pub(crate) challenge: Option<usize>,
}

/// A packet that is still arriving is a sign of life each time it has gained so many bytes: the client may write a large
/// one over a slow link, and can send no other before its end.
const MOVING: usize = 1024;

impl ConnectedClient {
    /// Behind whole packets there are `rest` bytes of one that is not finished.
    pub(crate) fn unfinished(&mut self, now: Instant, rest: usize) {
        if rest.saturating_sub(self.counted) >= MOVING {
            self.counted = rest;
            self.last_input = now;
        }
    }

    /// One and a half times the Keep Alive after the last packet (MQTT-3.1.2-22).
    fn keep_alive_deadline(&self) -> Option<Instant> {
        let grace = Duration::from_millis(1500 * u64::from(self.keep_alive));
        (self.keep_alive > 0).then(|| self.last_input + grace)
    }
}

impl BrokerConnection {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            phase: ConnectionPhase::AwaitingConnect { deadline },
            output: ConnectionOutput::default(),
            listed: false,
        }
    }

    pub(crate) const fn connected(&self) -> Option<&ConnectedClient> {
        match &self.phase {
            ConnectionPhase::Connected(connected) => Some(connected),
            _ => None,
        }
    }

    pub(crate) const fn connected_mut(&mut self) -> Option<&mut ConnectedClient> {
        match &mut self.phase {
            ConnectionPhase::Connected(connected) => Some(connected),
            _ => None,
        }
    }

    /// The challenge that is asked before CONNACK.
    pub(crate) const fn challenge(&self) -> Option<usize> {
        match self.phase {
            ConnectionPhase::Connecting { challenge, .. } => Some(challenge),
            _ => None,
        }
    }

    /// Takes out the CONNECT that is to be accepted.
    pub(crate) fn take_connect(&mut self) -> Option<Connect> {
        let ConnectionPhase::Connecting { deadline, .. } = self.phase else {
            return None;
        };
        match mem::replace(
            &mut self.phase,
            ConnectionPhase::AwaitingConnect { deadline },
        ) {
            ConnectionPhase::Connecting { connect, .. } => Some(*connect),
            _ => None,
        }
    }

    /// The time at which the broker gives up on it, if nothing comes.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            ConnectionPhase::AwaitingConnect { deadline }
            | ConnectionPhase::Connecting { deadline, .. }
            | ConnectionPhase::Closing { deadline } => Some(*deadline),
            ConnectionPhase::Connected(connected) => connected.keep_alive_deadline(),
        }
    }

    /// Whether it has nothing to do before something comes. A connection whose CONNECT has not come is idle.
    pub(crate) const fn is_idle(&self) -> bool {
        let moves = matches!(
            self.phase,
            ConnectionPhase::Connecting { .. } | ConnectionPhase::Closing { .. }
        );
        self.output.is_empty() && !moves
    }

    /// The version that the client speaks and its Maximum Packet Size, from CONNECT to the end.
    fn agreed(&self) -> Option<(ProtocolVersion, usize)> {
        match &self.phase {
            ConnectionPhase::Connecting { connect, .. } => {
                Some((connect.protocol, maximum_packet_size(connect)))
            }
            ConnectionPhase::Connected(connected) => {
                Some((connected.version, connected.maximum_packet_size))
            }
            _ => None,
        }
    }

    /// Writes a packet, unless it is larger than the client takes (MQTT-3.1.2-24): then it says `false`.
    pub(crate) fn write(&mut self, packet: &Packet) -> bool {
        self.agreed()
            .is_some_and(|(version, maximum)| self.output.packet(packet, version, maximum))
    }

    /// Where PUBLISH packets to the client are written, while it is connected.
    pub(crate) const fn wire(&mut self) -> Option<PublishTarget<'_>> {
        match &mut self.phase {
            ConnectionPhase::Connected(connected) => Some(PublishTarget {
                version: connected.version,
                maximum_packet_size: connected.maximum_packet_size,
                aliases: &mut connected.aliases_out,
                output: &mut self.output,
            }),
            _ => None,
        }
    }
}

/// The client's Maximum Packet Size.
pub(crate) fn maximum_packet_size(connect: &Connect) -> usize {
    let size = connect.properties.maximum_packet_size;
    size.map_or(usize::MAX, |size| size.get() as usize)
}
