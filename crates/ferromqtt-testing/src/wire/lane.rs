//! One direction of a link: what is in it, and when it comes out.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ferromqtt_proto::debug_fields;

use super::aliases::LaneAliases;
use super::postponed::{Postponed, Waiting};
use crate::journal::JournalEntryId;
use crate::random::Random;

/// While so many bytes are on their way, nothing more is taken in: the sender notices, as it does on a slow network.
const BACKED_UP: usize = 64 * 1024;

/// At a rate, bytes arrive in pieces that take about this long each.
const PIECE: Duration = Duration::from_millis(100);

/// How a link ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneEnd {
    /// One side closed it, behind what it had sent.
    Closed,
    /// A fault ended it.
    Cut,
    /// A fault ended it, and the client is to see a reset.
    Reset,
}

impl LaneEnd {
    /// What a cut is, with a reset or in order.
    pub(crate) const fn of_cut(reset: bool) -> Self {
        match reset {
            true => Self::Reset,
            false => Self::Cut,
        }
    }
}

/// What comes out of a lane.
#[derive(Clone)]
pub(crate) enum Traffic {
    /// With the entry of the journal for the packet whose end they have.
    Bytes(Bytes, Option<JournalEntryId>),
    End(LaneEnd),
}

impl Traffic {
    pub(crate) const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes, _) => bytes.len(),
            Self::End(_) => 0,
        }
    }

    /// The packet that is lost when this is.
    const fn entry(&self) -> Option<JournalEntryId> {
        match self {
            Self::Bytes(_, entry) => *entry,
            Self::End(_) => None,
        }
    }
}

/// What the network does to every byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) stalled: bool,
    pub(crate) latency: Duration,
    pub(crate) jitter: Duration,
    /// Bytes a second.
    pub(crate) rate: Option<NonZeroU32>,
    /// The link is cut behind so many bytes.
    pub(crate) cut_after: Option<usize>,
}

/// Bytes that are on their way from one side of a link to the other, in order.
pub(crate) struct Lane {
    /// Bytes of a packet that is not whole yet.
    pub(crate) arriving: BytesMut,
    /// So many bytes come before the first that is to be cut into packets: they were on their way when the wire was made.
    pub(crate) uncut: usize,
    pub(crate) aliases: LaneAliases,
    /// Packets that a rule keeps back, and those behind them.
    pub(crate) postponed: Postponed,
    pub(crate) conditions: Conditions,
    /// What is on its way, and when it arrives.
    transit: VecDeque<(Instant, Traffic)>,
    in_transit: usize,
    /// When the latest that was sent arrives.
    latest: Option<Instant>,
    /// When the line is free again, at a rate.
    free_at: Option<Instant>,
    /// Nothing more is taken in: the end is on its way.
    ended: bool,
    /// Packets that will not arrive, until the journal has that.
    lost: Vec<JournalEntryId>,
    /// How many bytes may be on their way, or kept back.
    maximum: usize,
}

debug_fields!(Lane {
    arriving: length,
    uncut,
    aliases: hidden,
    postponed,
    conditions,
    transit: count,
    in_transit,
    latest,
    free_at,
    ended,
    lost: count,
    maximum
});

impl Lane {
    pub(crate) fn new(maximum: usize) -> Self {
        Self {
            arriving: BytesMut::new(),
            uncut: 0,
            aliases: LaneAliases::default(),
            postponed: Postponed::default(),
            conditions: Conditions::default(),
            transit: VecDeque::new(),
            in_transit: 0,
            latest: None,
            free_at: None,
            ended: false,
            lost: Vec::new(),
            maximum,
        }
    }

    /// Takes in a packet, or what a fault has made of it. It waits, if it is to, and otherwise goes on its way.
    pub(crate) fn accept(&mut self, now: Instant, random: &mut Random, waiting: Waiting) {
        if self.ended {
            return self.lose(waiting.into_traffic());
        }
        self.postponed.push(waiting);
        self.settle(now, random);
    }

    /// Lets go what no longer waits, and the oldest of what waits beyond the bound.
    pub(crate) fn settle(&mut self, now: Instant, random: &mut Random) {
        while let Some(traffic) = self.postponed.pop(now, self.maximum) {
            for traffic in traffic {
                self.send(now, random, traffic);
            }
        }
    }

    /// The sender ended the link: nothing comes behind what it has sent. What a rule holds until somebody releases it ends with
    /// the link; what is only late still arrives.
    pub(crate) fn finish(&mut self, now: Instant, random: &mut Random, end: LaneEnd) {
        if self.ended {
            return;
        }
        self.arriving.clear();
        let held = self.postponed.take_held();
        self.lose(held);
        self.postponed
            .push(Waiting::behind(None, vec![Traffic::End(end)]));
        self.ended = true;
        self.settle(now, random);
    }

    /// Puts bytes on their way, past all rules.
    pub(crate) fn send(&mut self, now: Instant, random: &mut Random, traffic: Traffic) {
        let Traffic::Bytes(mut bytes, mut entry) = traffic else {
            self.schedule(now, random, traffic);
            return;
        };
        let mut is_last = false;
        if let Some(left) = &mut self.conditions.cut_after {
            is_last = bytes.len() >= *left;
            if bytes.len() > *left {
                bytes.truncate(*left);
                self.lost.extend(entry.take());
            }
            *left -= bytes.len();
        }
        while let Some(rate) = self.conditions.rate
            && !bytes.is_empty()
        {
            let piece = (f64::from(rate.get()) * PIECE.as_secs_f64()).ceil() as usize;
            let piece = bytes.split_to(piece.min(bytes.len()));
            let ends = bytes.is_empty().then(|| entry.take()).flatten();
            self.schedule(now, random, Traffic::Bytes(piece, ends));
        }
        if !bytes.is_empty() {
            self.schedule(now, random, Traffic::Bytes(bytes, entry));
        }
        if is_last {
            self.schedule(now, random, Traffic::End(LaneEnd::Cut));
            self.ended = true;
        }
    }

    fn schedule(&mut self, now: Instant, random: &mut Random, traffic: Traffic) {
        let Conditions {
            latency,
            jitter,
            rate,
            ..
        } = self.conditions;
        let mut sent = now;
        if let Some(rate) = rate {
            let takes = Duration::from_secs_f64(traffic.len() as f64 / f64::from(rate.get()));
            sent = self.free_at.map_or(now, |free_at| free_at.max(now)) + takes;
            self.free_at = Some(sent);
        }
        let arrives = sent + random.spread(latency, jitter);
        let arrives = self.latest.map_or(arrives, |latest| latest.max(arrives)); // no byte overtakes another
        self.latest = Some(arrives);
        self.in_transit += traffic.len();
        self.transit.push_back((arrives, traffic));
    }

    /// The next that has arrived. Beyond the bound the oldest arrives early.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Traffic> {
        let (arrives, _) = self.transit.front()?;
        let has_arrived = *arrives <= now && !self.conditions.stalled;
        if !has_arrived && self.in_transit <= self.maximum {
            return None;
        }
        let (_, traffic) = self.transit.pop_front()?;
        self.in_transit -= traffic.len();
        Some(traffic)
    }

    /// Whether the next that has arrived is the end of the link.
    pub(crate) fn ends_next(&self, now: Instant) -> bool {
        let arrived = |at: Instant| at <= now && !self.conditions.stalled;
        matches!(self.transit.front(), Some(&(at, Traffic::End(_))) if arrived(at))
    }

    /// Whether something has arrived.
    pub(crate) fn has_arrived(&self, now: Instant) -> bool {
        (self.transit.front()).is_some_and(|&(at, _)| at <= now && !self.conditions.stalled)
    }

    /// Whether so much is on its way that the sender has to wait.
    pub(crate) const fn is_backed_up(&self) -> bool {
        self.conditions.stalled || self.in_transit > BACKED_UP
    }

    /// When something arrives or no longer waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let transit = (self.transit.front())
            .filter(|_| !self.conditions.stalled)
            .map(|&(at, _)| at);
        transit.into_iter().chain(self.postponed.deadline()).min()
    }

    /// Whether nothing is on its way or kept back.
    pub(crate) fn is_empty(&self) -> bool {
        self.transit.is_empty() && self.postponed.is_empty() && self.arriving.is_empty()
    }

    /// What it holds, for people; `more` is what stands behind it.
    pub(crate) fn unfinished(&self, more: bool) -> Option<String> {
        let mut parts = self.postponed.unfinished();
        if !self.transit.is_empty() {
            let why = match self.conditions.stalled {
                true => "stopped by a stall or a partition",
                false => "on their way",
            };
            parts.push(format!("{} bytes {why}", self.in_transit));
        }
        if !self.arriving.is_empty() || more {
            parts.push("a packet whose end has not come".to_owned());
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        self.in_transit + self.postponed.bytes() + self.arriving.len()
    }

    /// Throws away what is in it, and what will come.
    pub(crate) fn discard(&mut self) {
        self.arriving.clear();
        let postponed = std::mem::take(&mut self.postponed);
        self.lose(postponed.into_traffic());
        let transit = std::mem::take(&mut self.transit);
        self.lose(transit.into_iter().map(|(_, traffic)| traffic));
        self.in_transit = 0;
        self.ended = true;
    }

    fn lose(&mut self, traffic: impl IntoIterator<Item = Traffic>) {
        (self.lost).extend(traffic.into_iter().filter_map(|it| it.entry()));
    }

    /// The packets that will not arrive, and were not named yet.
    pub(crate) fn take_lost(&mut self) -> Vec<JournalEntryId> {
        std::mem::take(&mut self.lost)
    }
}
