//! Packets that a rule keeps back.

use std::collections::VecDeque;
use std::time::Instant;

use ferromqtt_proto::packet::PacketType;

use super::lane::Traffic;
use crate::faults::FaultId;

/// What a packet takes beside its bytes.
const ENTRY: usize = 128;

/// How many packets are listed one by one.
const MOST_LISTED: usize = 3;

/// What a packet waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only for those that it must not overtake.
    Behind,
    /// For this time. Those behind it wait with it.
    Until(Instant),
    /// For this time, and nothing waits for it: a repetition.
    Again(Instant),
    /// For somebody who releases it. Those behind it wait with it.
    Held(FaultId),
    /// Until so many packets of its type have gone by.
    Overtaken(u32),
}

/// A packet on its way through a lane, or the end of the link.
#[derive(Clone)]
pub(crate) struct Waiting {
    /// `None` for what is no packet of MQTT, and for the end of the link.
    kind: Option<PacketType>,
    wait: Wait,
    traffic: Vec<Traffic>,
}

impl Waiting {
    /// One that waits for those only that it must not overtake.
    pub(crate) const fn behind(kind: Option<PacketType>, traffic: Vec<Traffic>) -> Self {
        Self::for_(Wait::Behind, kind, traffic)
    }

    pub(crate) const fn for_(wait: Wait, kind: Option<PacketType>, traffic: Vec<Traffic>) -> Self {
        Self {
            kind,
            wait,
            traffic,
        }
    }

    pub(crate) fn into_traffic(self) -> Vec<Traffic> {
        self.traffic
    }

    fn size(&self) -> usize {
        ENTRY + self.traffic.iter().map(Traffic::len).sum::<usize>()
    }

    fn is_ready(&self, now: Instant) -> bool {
        match self.wait {
            Wait::Behind | Wait::Overtaken(0) => true,
            Wait::Until(at) | Wait::Again(at) => at <= now,
            Wait::Held(_) | Wait::Overtaken(_) => false,
        }
    }
}

/// Packets that wait, in the order in which they came.
///
/// Waiting keeps the order of MQTT: a packet does not overtake one of its own type, nothing overtakes CONNECT and CONNACK, and
/// DISCONNECT and the end of the link overtake nothing. All others go by. Only [`Wait::Overtaken`] breaks that on purpose.
#[derive(Default)]
pub(crate) struct Postponed {
    packets: VecDeque<Waiting>,
    bytes: usize,
}

impl std::fmt::Debug for Postponed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (f.debug_struct("Postponed"))
            .field("packets", &self.packets.len())
            .field("bytes", &self.bytes)
            .finish()
    }
}

impl Postponed {
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.bytes += waiting.size();
        self.packets.push_back(waiting);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes out the first that need not wait any longer. While there are more than `maximum` bytes, that is the oldest.
    pub(crate) fn pop(&mut self, now: Instant, maximum: usize) -> Option<Vec<Traffic>> {
        let too_many = self.bytes > maximum;
        let index = match too_many {
            true => 0,
            false => self.first_ready(now)?,
        };
        let gone = self.packets.remove(index)?;
        self.bytes -= gone.size();
        for earlier in self.packets.iter_mut().take(index) {
            if let Wait::Overtaken(left) = &mut earlier.wait
                && earlier.kind == gone.kind
            {
                *left = left.saturating_sub(1);
            }
        }
        Some(gone.traffic)
    }

    fn first_ready(&self, now: Instant) -> Option<usize> {
        let mut waiting = 0_u16; // a bit for each type that waits
        let mut barrier = false;
        for (index, packet) in self.packets.iter().enumerate() {
            let bit = packet.kind.map_or(1, |kind| 1 << kind as u16);
            let is_last = matches!(packet.kind, None | Some(PacketType::Disconnect));
            let may_go = !barrier && waiting & bit == 0 && !(is_last && waiting != 0);
            if may_go && packet.is_ready(now) {
                return Some(index);
            }
            match packet.wait {
                Wait::Again(_) | Wait::Overtaken(_) => {}
                _ => waiting |= bit,
            }
            let is_first = matches!(packet.kind, Some(PacketType::Connect | PacketType::ConnAck));
            barrier |= is_first || is_last;
        }
        None
    }

    /// Releases what `fault` holds; returns how many packets those are.
    pub(crate) fn release(&mut self, fault: FaultId) -> usize {
        let mut released = 0;
        for packet in &mut self.packets {
            if packet.wait == Wait::Held(fault) {
                packet.wait = Wait::Behind;
                released += 1;
            }
        }
        released
    }

    /// Takes out what waits for something other than the time.
    pub(crate) fn take_held(&mut self) -> Vec<Traffic> {
        let (held, rest) = std::mem::take(&mut self.packets)
            .into_iter()
            .partition(|packet| matches!(packet.wait, Wait::Held(_) | Wait::Overtaken(_)));
        self.packets = rest;
        self.bytes = self.packets.iter().map(Waiting::size).sum();
        let held: VecDeque<Waiting> = held;
        held.into_iter().flat_map(Waiting::into_traffic).collect()
    }

    /// All that waits.
    pub(crate) fn into_traffic(self) -> impl Iterator<Item = Traffic> {
        self.packets.into_iter().flat_map(Waiting::into_traffic)
    }

    /// What waits for what, for people.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let line = |packet: &Waiting| {
            let kind = packet.kind.map_or("the end", PacketType::name);
            let why = match packet.wait {
                Wait::Held(_) => "held until it is released",
                Wait::Overtaken(_) => "until others have overtaken it",
                Wait::Until(_) | Wait::Again(_) => "delayed",
                Wait::Behind => "behind others that wait",
            };
            format!("{kind} {why}")
        };
        let mut lines: Vec<_> = self.packets.iter().take(MOST_LISTED).map(line).collect();
        if let Some(more) = self.packets.len().checked_sub(MOST_LISTED)
            && more > 0
        {
            lines.push(format!("{more} more packets that wait"));
        }
        lines
    }

    /// When the next no longer waits. May be earlier than it can go.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let deadline = |packet: &Waiting| match packet.wait {
            Wait::Until(at) | Wait::Again(at) => Some(at),
            _ => None,
        };
        self.packets.iter().filter_map(deadline).min()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
