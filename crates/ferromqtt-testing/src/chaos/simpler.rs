//! What is simpler than an entry of a script, in numbers.

use std::time::Duration;

use super::draw::{HANDSHAKE, SPARED};
use super::script::{BrokerEvent, BrokerVerb, EventTime, ScriptEntry};
use crate::faults::{CutPoint, FaultAction, FaultRule};
use crate::wire::RestartKeeps;

/// Delays end here: at zero they would be none.
const SHORTEST: Duration = Duration::from_millis(1);

/// Entries that may stand for this one, the simplest first: with fewer actions, shorter times, fewer bytes, or for an earlier packet.
/// Each comes closer to an end, so that taking one of them again and again ends.
pub(super) fn simpler(entry: &ScriptEntry) -> Vec<ScriptEntry> {
    match entry {
        ScriptEntry::Rule(rule) => {
            let rules = simpler_rules(rule).into_iter();
            rules
                .filter(|rule| rule.check().is_ok())
                .map(ScriptEntry::Rule)
                .collect()
        }
        ScriptEntry::Event(event) => {
            let events = simpler_events(event).into_iter();
            events.map(ScriptEntry::Event).collect()
        }
    }
}

fn simpler_rules(rule: &FaultRule) -> Vec<FaultRule> {
    let mut rules = Vec::new();
    for index in 0..rule.actions.len() {
        let mut without = rule.clone();
        let removed = without.actions.remove(index);
        // A network loses a packet together with its link only: what fails when it is lost alone may be right.
        let is_end = matches!(removed, FaultAction::Cut { .. });
        if !is_end || without.actions.iter().all(leaves_whole) {
            rules.push(without); // the check refuses one without actions
        }
    }
    for (index, action) in rule.actions.iter().enumerate() {
        for action in simpler_actions(action) {
            let mut simpler = rule.clone();
            simpler.actions[index] = action;
            rules.push(simpler);
        }
    }
    let least = match rule.place.kind {
        None => SPARED + 1,
        Some(_) => 1,
    };
    for nth in smaller(rule.timing.nth, least) {
        let mut earlier = rule.clone();
        earlier.timing.nth = nth;
        rules.push(earlier);
    }
    for after in shorter(rule.timing.after, Duration::ZERO) {
        let mut earlier = rule.clone();
        earlier.timing.after = after;
        rules.push(earlier);
    }
    rules
}

/// Whether the packet arrives as it is, some time.
const fn leaves_whole(action: &FaultAction) -> bool {
    matches!(
        action,
        FaultAction::Delay(_) | FaultAction::Duplicate { .. } | FaultAction::Cut { .. }
    )
}

fn simpler_actions(action: &FaultAction) -> Vec<FaultAction> {
    match action {
        FaultAction::Duplicate { dup, after } => (shorter(*after, Duration::ZERO).into_iter())
            .map(|after| FaultAction::Duplicate { dup: *dup, after })
            .collect(),
        FaultAction::Delay(time) => (shorter(*time, SHORTEST).into_iter())
            .map(FaultAction::Delay)
            .collect(),
        FaultAction::Reorder { with_next } => (smaller(*with_next, 1).into_iter())
            .map(|with_next| FaultAction::Reorder { with_next })
            .collect(),
        FaultAction::Cut { at, reset } => {
            let cut = |at, reset| FaultAction::Cut { at, reset };
            let reset = *reset;
            let mut cuts = Vec::new();
            if reset {
                cuts.push(cut(*at, false));
            }
            if *at != CutPoint::After {
                cuts.push(cut(CutPoint::After, reset));
            }
            if let CutPoint::AfterBytes(bytes) = at {
                cuts.push(cut(CutPoint::Before, reset));
                let fewer = fewer(*bytes, 1).into_iter();
                cuts.extend(fewer.map(|bytes| cut(CutPoint::AfterBytes(bytes), reset)));
            }
            cuts
        }
        FaultAction::Garbage(bytes) => (fewer(*bytes, 1).into_iter())
            .map(FaultAction::Garbage)
            .collect(),
        FaultAction::Truncate(bytes) => (fewer(*bytes, 0).into_iter())
            .map(FaultAction::Truncate)
            .collect(),
        FaultAction::Replace(bytes) => (fewer(bytes.len(), 0).into_iter())
            .map(|length| FaultAction::Replace(bytes.slice(..length)))
            .collect(),
        _ => Vec::new(),
    }
}

fn simpler_events(event: &BrokerEvent) -> Vec<BrokerEvent> {
    let BrokerEvent { at, verb } = *event;
    let verbs: Vec<_> = match verb {
        BrokerVerb::Restart { down_for, keeps } => {
            let times = shorter(down_for, Duration::ZERO).into_iter();
            let restarts = times.map(|time| BrokerVerb::restart(time, keeps));
            // A restart that loses less explains more.
            let keeping = (keeps != RestartKeeps::ALL)
                .then(|| BrokerVerb::restart(down_for, RestartKeeps::ALL));
            keeping.into_iter().chain(restarts).collect()
        }
        BrokerVerb::Partition { lasts, hangs } => (shorter(lasts, SHORTEST).into_iter())
            .map(|time| BrokerVerb::partition(time, hangs))
            .collect(),
    };
    let times: Vec<_> = match at {
        EventTime::After(time) => (shorter(time, Duration::ZERO).into_iter())
            .map(EventTime::After)
            .collect(),
        EventTime::Packet(number) => (smaller(number, HANDSHAKE + 1).into_iter())
            .map(EventTime::Packet)
            .collect(),
    };
    let with_verb = verbs.into_iter().map(|verb| BrokerEvent { at, verb });
    let with_time = times.into_iter().map(|at| BrokerEvent { at, verb });
    with_verb.chain(with_time).collect()
}

/// The least, a half, and one less.
fn smaller(number: u32, least: u32) -> Vec<u32> {
    let mut smaller = vec![least, number / 2, number.saturating_sub(1)];
    smaller.retain(|&it| it >= least && it < number);
    smaller.dedup();
    smaller
}

fn fewer(bytes: usize, least: usize) -> Vec<usize> {
    let mut fewer = vec![least, bytes / 2];
    fewer.retain(|&it| it >= least && it < bytes);
    fewer.dedup();
    fewer
}

/// The shortest time, and a half.
fn shorter(time: Duration, shortest: Duration) -> Vec<Duration> {
    let half = Duration::from_millis((time / 2).as_millis() as u64);
    let mut shorter = vec![shortest, half];
    shorter.retain(|&it| it >= shortest && it < time);
    shorter.dedup();
    shorter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::FaultScript;

    fn simpler_lines(line: &str) -> Vec<String> {
        let script: FaultScript = line.parse().unwrap();
        let lines = simpler(&script.entries[0]).into_iter();
        lines.map(|entry| entry.to_string()).collect()
    }

    #[test]
    fn an_action_is_left_out_and_numbers_become_smaller() {
        assert_eq!(
            simpler_lines("sends PUBACK nth 5 lose, cut"),
            [
                "sends PUBACK nth 5 cut",
                "sends PUBACK lose, cut",
                "sends PUBACK nth 2 lose, cut",
                "sends PUBACK nth 4 lose, cut"
            ]
        );
        assert_eq!(
            simpler_lines("sends PUBACK delay 1ms, cut"),
            ["sends PUBACK cut", "sends PUBACK delay 1ms"]
        );
        assert_eq!(
            simpler_lines("receives any cut after_bytes 9 reset"),
            [
                "receives any cut after_bytes 9",
                "receives any cut reset",
                "receives any cut before reset",
                "receives any cut after_bytes 1 reset",
                "receives any cut after_bytes 4 reset"
            ]
        );
        assert_eq!(
            simpler_lines("at packet 4 restart down_for 3s"),
            [
                "at packet 4 restart down_for 3s keeps sessions retained",
                "at packet 4 restart",
                "at packet 4 restart down_for 1500ms",
                "at packet 3 restart down_for 3s"
            ]
        );
        assert_eq!(
            simpler_lines("at 1ms partition for 3ms"),
            ["at 1ms partition for 1ms", "at 0s partition for 3ms"]
        );
    }

    #[test]
    fn the_first_connection_stays_spared() {
        assert_eq!(simpler_lines("sends any nth 2 cut"), [""; 0]);
        assert_eq!(
            simpler_lines("sends any nth 3 cut"),
            ["sends any nth 2 cut"]
        );
        assert_eq!(
            simpler_lines("at packet 3 restart keeps sessions retained"),
            [""; 0]
        );
    }

    #[test]
    fn the_simplest_has_nothing_simpler() {
        for line in [
            "sends any cut",
            "receives any cut before",
            "sends PUBLISH delay 1ms",
            "at packet 1 restart keeps sessions retained",
        ] {
            let left = simpler_lines(line);
            let expected: &[&str] = match line {
                "receives any cut before" => &["receives any cut"],
                _ => &[],
            };
            assert_eq!(left, expected, "{line}");
        }
    }

    #[test]
    fn taking_the_last_of_them_again_and_again_ends() {
        for seed in 0..50 {
            let faults = crate::Faults::cuts(0.02).delays(0.01).restarts(1);
            for mut entry in faults.draw(seed).entries {
                let mut rounds = 0;
                while let Some(next) = simpler(&entry).pop() {
                    entry = next;
                    rounds += 1;
                    assert!(rounds < 500, "{entry}");
                }
            }
        }
    }
}
