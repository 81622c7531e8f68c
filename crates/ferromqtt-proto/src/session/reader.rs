//! Who reads a queue, and who waits for it: when its reader asked last, and since when acknowledgements are withheld for it.

use std::time::{Duration, Instant};

/// How long a full queue holds up others before something is done about it: a reader that has not asked for so long is
/// taken to have forgotten its queue, and a queue that withholds acknowledgements for so long is reported.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a reader is looked for while its queue holds back input. It is not asked for the time whenever it takes a
/// message, since reading a clock costs as much as taking one.
const LOOK: Duration = Duration::from_secs(1);

/// When a reader asked its queue for a message last.
#[derive(Debug)]
pub(super) struct ReaderActivity {
    /// It has asked since `seen` was noted.
    asked: bool,
    seen: Option<Instant>,
    forgotten: bool,
    /// That a message was lost because of it has been reported.
    reported: bool,
}

impl Default for ReaderActivity {
    fn default() -> Self {
        Self {
            asked: true, // whoever has opened a queue is about to read it
            seen: None,
            forgotten: false,
            reported: false,
        }
    }
}

impl ReaderActivity {
    pub(super) const fn asks(&mut self) {
        self.asked = true;
        self.forgotten = false;
        self.reported = false;
    }

    pub(super) fn note(&mut self, now: Option<Instant>) {
        if std::mem::take(&mut self.asked) {
            self.seen = now;
        }
    }

    pub(super) const fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether the reader has forgotten its queue; when to look again otherwise.
    pub(super) fn look(&mut self, now: Instant) -> Option<Instant> {
        self.note(Some(now));
        let forgotten_at = *self.seen.get_or_insert(now) + PATIENCE;
        self.forgotten = forgotten_at <= now;
        (!self.forgotten).then(|| forgotten_at.min(now + LOOK))
    }

    /// Whether a loss is the first one since the reader was found to have forgotten its queue.
    pub(super) const fn is_news(&mut self) -> bool {
        self.forgotten && !std::mem::replace(&mut self.reported, true)
    }
}

/// How many acknowledgements a queue withholds, and since when it withholds any.
#[derive(Debug, Default)]
pub(super) struct Withheld {
    count: usize,
    since: Option<Instant>,
    reported: bool,
}

impl Withheld {
    pub(super) const fn add(&mut self, now: Option<Instant>) {
        if self.count == 0 {
            self.since = now;
            self.reported = false;
        }
        self.count += 1;
    }

    pub(super) const fn remove(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// When it is to be reported that acknowledgements are withheld, if any are and it was not reported yet.
    pub(super) fn due(&self) -> Option<Instant> {
        let waits = self.count > 0 && !self.reported;
        self.since.filter(|_| waits).map(|since| since + PATIENCE)
    }

    /// Whether it is time to report, once.
    pub(super) fn is_overdue(&mut self, now: Instant) -> bool {
        let overdue = self.due().is_some_and(|due| due <= now);
        self.reported |= overdue;
        overdue
    }
}
