//! A list of faults for one run, as data.

use std::time::Duration;

use thiserror::Error;

use crate::faults::{FaultError, FaultRule, FaultTextError};
use crate::wire::RestartKeeps;

/// The faults of one run: rules, and what happens to the whole broker at a time.
///
/// It is plain data, which [`Faults`](crate::Faults) draws, [`ScriptShrinker`](crate::ScriptShrinker) shortens and
/// [`Broker::play_faults`](crate::Broker::play_faults) puts to work. Its text (`Display`, [`FromStr`](std::str::FromStr))
/// has one entry a line; [`FaultScript::rust_code`] prints it as a program.
///
/// ```
/// use std::time::Duration;
/// use ferromqtt_proto::packet::PacketType;
/// use ferromqtt_testing::{BrokerVerb, EventTime, FaultRule, FaultScript, RestartKeeps};
///
/// let script = FaultScript::new()
///     .rule(FaultRule::sends(PacketType::PubAck).nth(3).lose().cut())
///     .event(EventTime::Packet(40), BrokerVerb::restart(Duration::from_secs(2), RestartKeeps::ALL));
/// let lines = "sends PUBACK nth 3 lose, cut\nat packet 40 restart down_for 2s keeps sessions retained\n";
/// assert_eq!(script.to_string(), lines);
/// assert_eq!(lines.parse(), Ok(script));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultScript {
    /// Rules are added in this order.
    pub entries: Vec<ScriptEntry>,
}

/// An entry of a [`FaultScript`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ScriptEntry {
    /// A rule for packets.
    Rule(FaultRule),
    /// What happens to the whole broker.
    Event(BrokerEvent),
}

/// What happens to the whole broker, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerEvent {
    /// When.
    pub at: EventTime,
    /// What.
    pub verb: BrokerVerb,
}

/// When a [`BrokerEvent`] happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTime {
    /// So long after the script was put to work.
    After(Duration),
    /// When the broker has seen so many packets, sent and received together, since then. In virtual time a program may run to its
    /// end before the clock moves; packets it has always.
    Packet(u32),
}

/// What happens to the whole broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerVerb {
    /// [`Broker::restart`](crate::Broker::restart).
    Restart {
        /// How long new connections are refused.
        down_for: Duration,
        /// What the broker still has.
        keeps: RestartKeeps,
    },
    /// [`Broker::partition`](crate::Broker::partition), and [`Broker::heal`](crate::Broker::heal).
    Partition {
        /// How long.
        lasts: Duration,
        /// Whether new connections hang; otherwise they are refused.
        hangs: bool,
    },
}

impl BrokerVerb {
    /// [`BrokerVerb::Restart`].
    pub const fn restart(down_for: Duration, keeps: RestartKeeps) -> Self {
        Self::Restart { down_for, keeps }
    }

    /// [`BrokerVerb::Partition`].
    pub const fn partition(lasts: Duration, hangs: bool) -> Self {
        Self::Partition { lasts, hangs }
    }
}

/// A text that is no [`FaultScript`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultScriptError {
    /// A line is no rule.
    #[error("line {line} of the script of faults: {error}")]
    Rule {
        /// Counted from 1.
        line: usize,
        /// Why.
        error: FaultTextError,
    },
    /// A line that begins with `at` is no event.
    #[error(
        "line {line} of the script of faults: {found:?} stands where {wanted} should; an event reads \
         \"at packet 40 restart down_for 2s keeps sessions\" or \"at 3s partition for 5s\""
    )]
    Event {
        /// Counted from 1.
        line: usize,
        /// What should stand there.
        wanted: &'static str,
        /// What does; empty at the end of the line.
        found: String,
    },
}

impl FaultScript {
    /// A script without an entry.
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Adds a rule.
    #[must_use]
    pub fn rule(mut self, rule: FaultRule) -> Self {
        self.entries.push(ScriptEntry::Rule(rule));
        self
    }

    /// Adds what happens to the whole broker.
    #[must_use]
    pub fn event(mut self, at: EventTime, verb: BrokerVerb) -> Self {
        let event = BrokerEvent { at, verb };
        self.entries.push(ScriptEntry::Event(event));
        self
    }

    /// Whether all of its rules can be added.
    ///
    /// # Errors
    /// Of the first that cannot.
    pub fn check(&self) -> Result<(), FaultError> {
        self.rules().try_for_each(FaultRule::check)
    }

    /// The rules among the entries.
    pub fn rules(&self) -> impl Iterator<Item = &FaultRule> {
        self.entries.iter().filter_map(|entry| match entry {
            ScriptEntry::Rule(rule) => Some(rule),
            ScriptEntry::Event(_) => None,
        })
    }

    /// Makes every rule optional, or none.
    pub(crate) fn set_optional(&mut self, optional: bool) {
        for entry in &mut self.entries {
            if let ScriptEntry::Rule(rule) = entry {
                rule.timing.optional = optional;
            }
        }
    }
}
