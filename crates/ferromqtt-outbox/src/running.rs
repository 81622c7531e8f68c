//! Between an engine and its store: what happened goes to the store, and what is on record comes back.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ferromqtt_engine::{Engine, Fact, MessageTerms, Tokens};
use ferromqtt_proto::{Direction, Outcome, SessionChange};
use ferromqtt_store::{
    EndedHow, FetchRequest, FetchedMessage, ReadError, Store, StoreChange, StoreCommand,
    StoreEntry, StoreEvent, StoreMarks, SubmitError,
};

use crate::stats::OutboxStats;

/// An outbox at work, beside the engine that it was started with.
///
/// Dropping it begins to close the store, and does not wait for that.
pub struct RunningOutbox {
    store: Box<dyn Store>,
    /// The store has something to say.
    woken: Arc<AtomicBool>,
    /// What the store has not taken yet, since it has as much to write as it takes. Nothing is accepted meanwhile.
    behind: VecDeque<StoreEntry>,
    /// How many entries the store has taken: the ticket of the last one.
    submitted: u64,
    marks: StoreMarks,
    has_failed: bool,
    is_closing: bool,
    /// Messages in quarantine that somebody wants to be sent again, to be read from the store.
    retries: Vec<u64>,
    /// What the store is reading, if anything.
    reads: Option<Reads>,
}

/// What the store has been asked for.
enum Reads {
    /// Messages of the queue whose turn comes, by their keys.
    Next(Vec<u64>),
    Retries,
}

impl RunningOutbox {
    /// `lost` are messages whose bytes cannot be read.
    pub(crate) fn new(store: Box<dyn Store>, woken: Arc<AtomicBool>, lost: Vec<u64>) -> Self {
        let ends = lost.into_iter().map(|key| ended(key, EndedHow::Damaged));
        Self {
            store,
            woken,
            behind: ends.collect(),
            submitted: 0,
            marks: StoreMarks::default(),
            has_failed: false,
            is_closing: false,
            retries: Vec::new(),
            reads: None,
        }
    }

    /// Hands what has changed to the store, and learns what is on record. To be called whenever the engine has been called,
    /// before its callers hear what follows from that, and when the store has woken the driver. Returns whether there may be
    /// more to transmit, or to do, since: then call it again after that.
    pub fn settle<T: Tokens>(&mut self, engine: &mut Engine<T>, now: Instant) -> bool {
        if self.is_closing {
            return false; // what changes from now on is for the next outbox of this engine
        }
        let woken = self.woken.swap(false, Ordering::AcqRel);
        if woken {
            self.hear(engine, now);
        }
        self.submit(engine);
        self.fetch(engine);
        engine.hold_queue(!self.behind.is_empty() || self.marks.full.is_some());
        woken
    }

    /// What it holds, in figures.
    pub fn stats(&self) -> OutboxStats {
        OutboxStats {
            behind: self.behind.len(),
            is_full: self.marks.full.is_some(),
            has_failed: self.has_failed,
            ..OutboxStats::new(&self.store.stats())
        }
    }

    /// Whether the store is about to say that it has written or read something, or that it is closed: a clock that jumps has to wait
    /// for that. Not while it waits for space to write.
    pub const fn is_writing(&self) -> bool {
        let closes = self.is_closing && !self.marks.closed;
        let writes = self.submitted > self.marks.on_record;
        let reads = self.reads.is_some() && !self.is_closing;
        let waits_for_space = self.marks.full.is_some();
        ((writes || closes) && !waits_for_space || reads) && !self.has_failed
    }

    /// Closes the store, once no connection follows: what has changed is written before. Returns whether that is done, so that
    /// another client may open the folder; until then call it again whenever the store wakes the driver.
    pub fn close<T: Tokens>(&mut self, engine: &mut Engine<T>, now: Instant) -> bool {
        self.settle(engine, now);
        if self.behind.is_empty() {
            self.is_closing = true;
            self.store.close();
        }
        let closed = self.store.marks().closed;
        if closed {
            self.hear(engine, now);
            engine.store_closed();
        }
        closed
    }

    /// How many times the folder was written to since it was made, once it is closed: as many when it is opened again, if nobody
    /// else had it meanwhile.
    pub fn frames(&self) -> u64 {
        self.store.stats().frames
    }

    fn hear<T: Tokens>(&mut self, engine: &mut Engine<T>, now: Instant) {
        let marks = self.store.marks();
        if marks.sent > self.marks.sent {
            engine.journal_written(Direction::Sent, marks.sent);
        }
        if marks.ahead > self.marks.ahead.max(marks.sent) {
            engine.journal_written_ahead(marks.ahead);
        }
        if marks.received > self.marks.received {
            engine.journal_written(Direction::Received, marks.received);
        }
        if let Some(full) = &marks.full
            && self.marks.full.is_none()
        {
            engine.report_store(Fact::StoreFull {
                error: full.to_string().into(),
            });
        }
        if marks.failure.is_some() {
            self.fail(engine);
        }
        self.marks = marks;
        for event in self.store.take_events() {
            self.on_event(engine, event);
        }
        if let Some(fetched) = self.store.take_fetched() {
            match self.reads.take() {
                Some(Reads::Next(asked)) => Self::hand_over(engine, &asked, fetched),
                Some(Reads::Retries) => self.send_again(engine, now, fetched),
                None => {}
            }
        }
    }

    fn on_event<T: Tokens>(&mut self, engine: &mut Engine<T>, event: StoreEvent) {
        match event {
            StoreEvent::Damaged(damage) => engine.report_store(Fact::StoreDamaged {
                damage: damage.to_string().into(),
            }),
            StoreEvent::MessageLost { key } => engine.report_store(lost(key)),
            StoreEvent::Command(StoreCommand::Retry(key)) if !engine.holds_outgoing(key) => {
                self.retries.push(key);
            }
            StoreEvent::Command(StoreCommand::Drop(key)) => {
                if engine.holds_outgoing(key) {
                    engine.drop_queued(key);
                } else {
                    self.behind.push_back(ended(key, EndedHow::Dropped));
                }
            }
            _ => {}
        }
    }

    /// Asks the store for messages, one request at a time: for those whose turn comes, and then for those that are to be sent again.
    fn fetch<T: Tokens>(&mut self, engine: &Engine<T>) {
        if self.reads.is_some() || self.has_failed || self.is_closing {
            return;
        }
        let next = engine.next_fetch();
        let (keys, reads) = match (next.is_empty(), self.retries.is_empty()) {
            (false, _) => (next.clone(), Reads::Next(next)),
            (true, false) => (self.retries.clone(), Reads::Retries),
            (true, true) => return,
        };
        if self.store.fetch(FetchRequest::Keys(keys)) {
            if let Reads::Retries = reads {
                self.retries.clear();
            }
            self.reads = Some(reads);
        }
    }

    /// Gives the engine messages whose turn comes. One that cannot be read leaves the queue, as it would be in the way forever. One whose
    /// bytes are damaged has been ended by the store; one that the disk does not read now stays on record for the next engine.
    fn hand_over<T: Tokens>(engine: &mut Engine<T>, asked: &[u64], fetched: Vec<FetchedMessage>) {
        let mut fetched = fetched.into_iter().peekable();
        let mut unread = Vec::new();
        let messages = asked.iter().map(|&key| {
            let is_next = |read: &FetchedMessage| match read {
                Ok(message) => message.key == key,
                Err((of, _)) => *of == key,
            };
            match fetched.next_if(is_next) {
                Some(Ok(message)) => (key, Some(message.publish)),
                Some(Err((_, ReadError::Disk(_)))) => {
                    unread.push(key);
                    (key, None)
                }
                _ => (key, None),
            }
        });
        engine.put_fetched(messages);
        for key in unread {
            let damage = format!("the disk does not read message {key} now, and it is kept");
            engine.report_store(Fact::StoreDamaged {
                damage: damage.into(),
            });
        }
    }

    /// Accepts messages in quarantine that are to be sent again, under new keys.
    fn send_again<T: Tokens>(
        &mut self,
        engine: &mut Engine<T>,
        now: Instant,
        fetched: Vec<FetchedMessage>,
    ) {
        for read in fetched {
            let Ok(message) = read else {
                continue; // the store has ended it, and says so
            };
            let terms = MessageTerms {
                expires_in: None,
                keep_latest: message.keep_latest,
            };
            if engine
                .queue_publish(now, message.publish, terms, None)
                .is_ok()
            {
                self.take_changes(engine); // its acceptance comes first: a crash between the two keeps both
                self.behind
                    .push_back(ended(message.key, EndedHow::Requeued));
            }
        }
    }

    /// Takes what has changed, with how messages ended.
    fn take_changes<T: Tokens>(&mut self, engine: &mut Engine<T>) {
        let mut ends: Vec<(u64, Outcome)> = engine.take_ended().collect();
        ends.sort_by_key(|(key, _)| *key); // nearly sorted: messages mostly end in order
        while let Some(entry) = engine.poll_journal() {
            let mut entry = StoreEntry::from(entry);
            if let StoreChange::Session(SessionChange::Finished { key }) = entry.change
                && let Ok(at) = ends.binary_search_by_key(&key, |(key, _)| *key)
                && let Some((_, outcome)) = ends.get(at)
            {
                entry.change = end_of(key, outcome);
            }
            self.behind.push_back(entry);
        }
    }

    fn submit<T: Tokens>(&mut self, engine: &mut Engine<T>) {
        self.take_changes(engine);
        let waiting = self.behind.len();
        let taken = self.store.submit_all(&mut self.behind);
        self.submitted += (waiting - self.behind.len()) as u64; // a ticket each
        match taken {
            Ok(()) | Err(SubmitError::Busy) => {}
            Err(_) => self.fail(engine),
        }
    }

    fn fail<T: Tokens>(&mut self, engine: &mut Engine<T>) {
        self.behind.clear();
        self.reads = None;
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        engine.journal_failed(Direction::Sent);
        engine.journal_failed(Direction::Received);
    }
}

impl fmt::Debug for RunningOutbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningOutbox")
            .field("marks", &self.marks)
            .field("behind", &self.behind.len())
            .finish_non_exhaustive()
    }
}

fn lost(key: u64) -> Fact {
    Fact::StoreDamaged {
        damage: format!("the bytes of message {key} are damaged, and it is lost").into(),
    }
}

const fn ended(key: u64, how: EndedHow) -> StoreEntry {
    StoreEntry {
        change: StoreChange::Ended { key, how },
        mark: None,
    }
}

/// How a message ended, for the store.
fn end_of(key: u64, outcome: &Outcome) -> StoreChange {
    let how = match outcome {
        Outcome::Quarantined { why } => return StoreChange::Quarantined { key, why: *why },
        Outcome::Acknowledged { .. } => EndedHow::Acknowledged,
        Outcome::Refused { reason, .. } => EndedHow::Refused(reason.value()),
        Outcome::Expired => EndedHow::Expired,
        Outcome::Dropped | Outcome::NotPossible(_) | Outcome::GivenUp(_) => EndedHow::Dropped,
        Outcome::Replaced => EndedHow::Replaced,
        _ => EndedHow::Finished,
    };
    StoreChange::Ended { key, how }
}
