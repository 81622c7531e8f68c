//! Log lines that repeat: the first is written at once, and then only when their number has doubled.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// After so long without an occurrence the next one is written at once again.
const QUIET: Duration = Duration::from_secs(10);

/// So many subjects have a count of their own. Those beyond share one for each kind.
const MOST_SUBJECTS: usize = 256;

/// So many bytes of a subject count.
const LONGEST_SUBJECT: usize = 200;

/// Decides which of many log lines that say the same are written.
///
/// Each kind of line, and within it each subject, such as a topic, has its own count. Of one kind and subject the first line
/// is written at once, and then each at which the number of occurrences has doubled: 19 lines for 433,000 occurrences. After
/// 10 s without an occurrence the next one is written at once again. A line that is written says how many there have been
/// ([`Repeat::total`]), and [`Repeats::take_unreported`] returns the rest at the end, so none is lost without a trace. Between connections of one client [`Repeats::take_unreported_of_connection`] does.
///
/// Memory: at most 256 subjects of at most 200 bytes. Those beyond share one count for each kind, and so do those that begin
/// with the same 200 bytes.
///
/// ```
/// use std::time::Instant;
/// use ferromqtt_proto::Repeats;
///
/// let mut repeats = Repeats::default();
/// let now = Instant::now();
/// let written = (0..100).filter_map(|_| repeats.count(now, "lost", "sensors/#", 1));
/// let totals: Vec<_> = written.map(|line| line.total).collect();
/// assert_eq!(totals, [1, 2, 4, 8, 16, 32, 64]);
/// let rest: Vec<_> = repeats.take_unreported().collect();
/// assert_eq!((rest[0].kind, &*rest[0].subject, rest[0].total), ("lost", "sensors/#", 100));
/// ```
#[derive(Debug, Default)]
pub struct Repeats {
    counts: HashMap<(&'static str, Box<str>), Tally>,
    /// When the counts were last looked through for those that need no memory.
    looked_through: Option<Instant>,
}

/// A line that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// How many occurrences there have been of this kind and subject, this one included.
    pub total: u64,
    /// How many of them no earlier line has reported.
    pub new: u64,
}

/// Occurrences that no line has reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreported {
    /// Their kind.
    pub kind: &'static str,
    /// Their subject; empty for those beyond the most that have a count of their own.
    pub subject: Box<str>,
    /// How many occurrences there have been, including those that lines have reported.
    pub total: u64,
    /// How many no line has reported.
    pub new: u64,
}

#[derive(Debug)]
struct Tally {
    total: u64,
    /// How many of them lines have reported.
    reported: u64,
    /// How many have come since the last quiet time, and how many make the next line.
    burst: u64,
    next: u64,
    /// How many ends of connections have left something since the last quiet time, and how many make the next report.
    ends: u64,
    next_end: u64,
    last: Instant,
}

impl Repeats {
    /// Counts `occurrences` more. Returns `Some` when a line is to be written.
    pub fn count(
        &mut self,
        now: Instant,
        kind: &'static str,
        subject: &str,
        occurrences: u64,
    ) -> Option<Repeat> {
        let mut key = (kind, Box::from(beginning(subject)));
        if self.counts.len() >= MOST_SUBJECTS && !self.counts.contains_key(&key) {
            self.make_room(now);
            if self.counts.len() >= MOST_SUBJECTS {
                key.1 = Box::from("");
            }
        }
        let count = self.counts.entry(key).or_insert_with(|| Tally::new(now));
        if count.is_quiet(now) {
            (count.burst, count.next) = (0, 1);
            (count.ends, count.next_end) = (0, 1);
        }
        count.last = now;
        count.total += occurrences;
        count.burst += occurrences;
        if count.burst < count.next {
            return None;
        }
        count.next = count.burst.saturating_mul(2);
        let new = count.total - count.reported;
        count.reported = count.total;
        let total = count.total;
        Some(Repeat { total, new })
    }

    /// Forgets what has been reported in full and is quiet.
    fn make_room(&mut self, now: Instant) {
        let pause = |last| now.saturating_duration_since(last) < QUIET;
        if !self.looked_through.is_some_and(pause) {
            self.looked_through = Some(now);
            (self.counts).retain(|_, count| count.reported < count.total || !count.is_quiet(now));
        }
    }

    /// Returns what no line has reported yet, for the end of a client. It counts as reported from then on.
    pub fn take_unreported(&mut self) -> impl Iterator<Item = Unreported> {
        self.take(|_| true)
    }

    /// As [`Repeats::take_unreported`], for the end of a connection that others may follow: what comes once in each would
    /// otherwise have a line for each. Of one kind and subject something is returned at the first end that leaves something,
    /// and then each time the number of those ends has doubled. After 10 s without an occurrence this starts again too. What is
    /// not returned is part of the total of a later line.
    pub fn take_unreported_of_connection(&mut self) -> impl Iterator<Item = Unreported> {
        self.take(Tally::end)
    }

    fn take(&mut self, is_due: impl Fn(&mut Tally) -> bool) -> impl Iterator<Item = Unreported> {
        let unreported = (self.counts.iter_mut()).filter_map(|(key, count)| {
            let is_left = count.reported < count.total;
            (is_left && is_due(count)).then_some((key, count))
        });
        let mut rest: Vec<_> = unreported
            .map(|((kind, subject), count)| {
                let new = count.total - count.reported;
                count.reported = count.total;
                let total = count.total;
                let subject = subject.clone();
                Unreported {
                    kind,
                    subject,
                    total,
                    new,
                }
            })
            .collect();
        rest.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
        rest.into_iter()
    }
}

fn beginning(subject: &str) -> &str {
    let mut end = subject.len().min(LONGEST_SUBJECT);
    while !subject.is_char_boundary(end) {
        end -= 1;
    }
    &subject[..end]
}

impl Tally {
    const fn new(now: Instant) -> Self {
        Self {
            total: 0,
            reported: 0,
            burst: 0,
            next: 1,
            ends: 0,
            next_end: 1,
            last: now,
        }
    }

    /// A connection has ended that leaves something. Whether it is to be reported.
    const fn end(&mut self) -> bool {
        self.ends += 1;
        let is_due = self.ends >= self.next_end;
        if is_due {
            self.next_end = self.ends.saturating_mul(2);
        }
        is_due
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= QUIET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::tests_support::start;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn of_433_000_occurrences_19_lines_are_written_and_the_rest_is_reported_at_the_end() {
        let mut repeats = Repeats::default();
        let now = start();
        let lines: Vec<_> = (0..433_000)
            .filter_map(|_| repeats.count(now, "lost", "", 1))
            .collect();
        assert_eq!(lines.len(), 19);
        let reported: u64 = lines.iter().map(|line| line.new).sum();
        let rest: Vec<_> = repeats.take_unreported().collect();
        assert_eq!(rest.len(), 1);
        assert_eq!((rest[0].total, reported + rest[0].new), (433_000, 433_000));
        assert_eq!(repeats.take_unreported().count(), 0);
    }

    #[test]
    fn many_at_once_are_one_line() {
        let mut repeats = Repeats::default();
        let now = start();
        let mut count = |occurrences| repeats.count(now, "lost", "", occurrences);
        assert_eq!(
            count(1000),
            Some(Repeat {
                total: 1000,
                new: 1000
            })
        );
        assert_eq!(count(999), None);
        assert_eq!(
            count(1),
            Some(Repeat {
                total: 2000,
                new: 1000
            })
        );
    }

    #[test]
    fn after_ten_quiet_seconds_the_next_is_written_at_once() {
        let mut repeats = Repeats::default();
        let mut now = start();
        for total in [1, 2, 4] {
            let last = (0..).find_map(|_| repeats.count(now, "lost", "", 1));
            assert_eq!(last.map(|line| line.total), Some(total));
        }
        now += 9 * SECOND;
        assert_eq!(repeats.count(now, "lost", "", 1), None);
        now += 10 * SECOND;
        let line = repeats.count(now, "lost", "", 1);
        assert_eq!(line, Some(Repeat { total: 6, new: 2 }));
    }

    #[test]
    fn what_comes_once_in_each_of_150_connections_has_few_lines() {
        let mut repeats = Repeats::default();
        let now = start();
        let mut totals = Vec::new();
        for _ in 0..150 {
            let line = repeats.count(now, "contested", "", 1);
            totals.extend(line.map(|line| line.total));
            totals.extend(repeats.take_unreported_of_connection().map(|it| it.total));
        }
        assert_eq!(
            totals,
            [1, 2, 3, 4, 5, 7, 8, 12, 16, 21, 32, 38, 64, 71, 128, 136]
        );
        let rest: Vec<_> = repeats.take_unreported().map(|it| it.total).collect();
        assert_eq!(rest, [150]);
        repeats.count(now + 11 * SECOND, "contested", "", 1);
        repeats.count(now + 11 * SECOND, "contested", "", 2);
        repeats.count(now + 11 * SECOND, "contested", "", 1);
        assert_eq!(repeats.take_unreported_of_connection().count(), 1, "anew");
    }

    #[test]
    fn each_kind_and_subject_has_its_own_count_up_to_a_bound() {
        let mut repeats = Repeats::default();
        let now = start();
        let mut written = 0;
        for subject in 0..10_000 {
            let subject = subject.to_string();
            for kind in ["lost", "refused"] {
                written += u64::from(repeats.count(now, kind, &subject, 1).is_some());
            }
        }
        assert!(repeats.counts.len() <= MOST_SUBJECTS + 2);
        assert!(written < MOST_SUBJECTS as u64 + 2 * 15, "{written}");
        let rest: u64 = repeats.take_unreported().map(|rest| rest.new).sum();
        assert!(rest > 0);
        // Those that are quiet make room.
        let line = repeats.count(now + 11 * SECOND, "lost", "another", 1);
        assert_eq!(line, Some(Repeat { total: 1, new: 1 }));
    }
}
