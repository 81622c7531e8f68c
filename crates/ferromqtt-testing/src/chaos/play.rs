//! A script at work in a broker.

use std::time::{Duration, Instant};

use super::script::{BrokerEvent, BrokerVerb, EventTime, FaultScript, ScriptEntry};
use crate::broker::Broker;
use crate::faults::FaultError;
use crate::timers::Timer;

/// What is still to happen to the broker.
#[derive(Debug, Default)]
pub(crate) struct ScheduledEvents {
    at_time: Vec<(Instant, ScheduledVerb)>,
    /// At which of the packets that are counted.
    at_packet: Vec<(u64, ScheduledVerb)>,
    /// How many packets were seen since the first script.
    seen: u64,
}

#[derive(Clone, Copy, Debug)]
enum ScheduledVerb {
    Verb(BrokerVerb),
    Heal,
}

impl ScheduledEvents {
    /// Counts a packet; returns whether something is to happen at it.
    pub(crate) fn packet_seen(&mut self) -> bool {
        self.seen += 1;
        self.at_packet.iter().any(|&(at, _)| at <= self.seen)
    }

    fn add(&mut self, now: Instant, event: BrokerEvent) {
        let verb = ScheduledVerb::Verb(event.verb);
        match event.at {
            EventTime::Packet(number) => self.at_packet.push((self.seen + u64::from(number), verb)),
            EventTime::After(time) => self.add_after(now, time, verb),
        }
    }

    fn add_after(&mut self, now: Instant, time: Duration, verb: ScheduledVerb) {
        if let Some(at) = now.checked_add(time) {
            self.at_time.push((at, verb)); // else it is never due
        }
    }

    /// Takes out what is due, one by one in order.
    fn pop(&mut self, now: Instant) -> Option<ScheduledVerb> {
        if let Some(index) = self.at_packet.iter().position(|&(at, _)| at <= self.seen) {
            return Some(self.at_packet.remove(index).1);
        }
        let first = (0..self.at_time.len()).min_by_key(|&index| self.at_time[index].0)?;
        (self.at_time[first].0 <= now).then(|| self.at_time.remove(first).1)
    }

    fn deadline(&self) -> Option<Instant> {
        self.at_time.iter().map(|&(at, _)| at).min()
    }
}

impl Broker {
    /// Adds the rules of a script, behind those that there are, and does from now on what it schedules.
    ///
    /// # Errors
    /// [`FaultError`] when one of the rules makes no sense; then nothing is added.
    pub fn play_faults(&mut self, now: Instant, script: &FaultScript) -> Result<(), FaultError> {
        script.check()?;
        self.now = Some(now);
        self.wire_mut();
        for entry in &script.entries {
            match entry {
                ScriptEntry::Rule(rule) => {
                    self.add_fault(now, rule.clone())?;
                }
                ScriptEntry::Event(event) => self.wire_mut().scheduled.add(now, *event),
            }
        }
        self.arm_scheduled();
        Ok(())
    }

    /// Does what a script has scheduled for now.
    pub(crate) fn handle_scheduled(&mut self, now: Instant) {
        while let Some(verb) = self.wire.as_mut().and_then(|wire| wire.scheduled.pop(now)) {
            match verb {
                ScheduledVerb::Heal => self.heal(now),
                ScheduledVerb::Verb(BrokerVerb::Restart { down_for, keeps }) => {
                    self.restart(now, down_for, keeps);
                }
                ScheduledVerb::Verb(BrokerVerb::Partition { lasts, hangs }) => {
                    self.partition(now, hangs);
                    let scheduled = &mut self.wire_mut().scheduled;
                    scheduled.add_after(now, lasts, ScheduledVerb::Heal);
                }
            }
        }
        self.arm_scheduled();
    }

    fn arm_scheduled(&mut self) {
        let deadline = self.wire.as_ref().and_then(|it| it.scheduled.deadline());
        if let Some(at) = deadline {
            self.timers.arm(Timer::Scheduled, at);
        }
    }
}
