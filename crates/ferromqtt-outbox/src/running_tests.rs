//! An outbox over a store that a test plays: it cannot keep up, its disk is full or fails, and commands come from beside it.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ferromqtt_engine::{
    CallEnd, Engine, EngineOptions, Fact, MessageTerms, OutgoingQueueOptions, PublishRefusal,
    QueueSubmission, Tokens, Woken,
};
use ferromqtt_proto::{
    CleanStart, Direction, InvalidPublish, Options, Outcome, OutgoingLimits, OutgoingPolicy,
    Publish, QoS, Reconnect, Session, SessionChange,
};
use ferromqtt_store::{
    DiskError, DiskOperation, EndedHow, FetchRequest, FetchedMessage, ReadError, Store,
    StoreChange, StoreCommand, StoreEntry, StoreError, StoreEvent, StoreMarks, StoreStats,
    StoredPublish, SubmitError,
};

use crate::running::RunningOutbox;

struct Names;

impl Tokens for Names {
    const RESERVES: bool = false;
    type Call = &'static str;
    type Reader = ();
}

#[derive(Default)]
struct Played {
    taken: Vec<StoreEntry>,
    tickets: u64,
    refuses: Option<SubmitError>,
    marks: StoreMarks,
    events: Vec<StoreEvent>,
    asked: Option<FetchRequest>,
    fetched: Option<Vec<FetchedMessage>>,
}

#[derive(Clone, Default)]
struct PlayedStore(Arc<Mutex<Played>>);

impl PlayedStore {
    fn get(&self) -> MutexGuard<'_, Played> {
        self.0.lock().unwrap()
    }
}

impl Store for PlayedStore {
    fn submit(&self, entry: StoreEntry) -> Result<u64, (Box<StoreEntry>, SubmitError)> {
        let mut played = self.get();
        if let Some(refusal) = &played.refuses {
            return Err((Box::new(entry), refusal.clone()));
        }
        played.taken.push(entry);
        played.tickets += 1;
        Ok(played.tickets)
    }

    fn marks(&self) -> StoreMarks {
        self.get().marks.clone()
    }

    fn fetch(&self, request: FetchRequest) -> bool {
        let mut played = self.get();
        let is_free = played.asked.is_none() && played.fetched.is_none();
        if is_free {
            played.asked = Some(request);
        }
        is_free
    }

    fn take_fetched(&self) -> Option<Vec<FetchedMessage>> {
        self.get().fetched.take()
    }

    fn take_events(&self) -> Vec<StoreEvent> {
        mem::take(&mut self.get().events)
    }

    fn stats(&self) -> StoreStats {
        StoreStats::default()
    }

    fn close(&self) {
        self.get().marks.closed = true;
    }
}

/// A client without a connection, and its outbox.
struct World {
    engine: Engine<Names>,
    outbox: RunningOutbox,
    store: PlayedStore,
    woken: Arc<AtomicBool>,
    now: Instant,
}

impl World {
    fn new(policy: OutgoingPolicy) -> Self {
        Self::with_queue(OutgoingQueueOptions {
            policy,
            ..OutgoingQueueOptions::default()
        })
    }

    /// One in whose memory two messages wait with their contents, and that has five, the last three of which are in the store alone.
    /// Returns their keys.
    fn with_distant_messages() -> (Self, Vec<u64>) {
        let mut world = Self::with_queue(OutgoingQueueOptions {
            window: OutgoingLimits {
                messages: Some(2),
                bytes: None,
            },
            failure_is_final: true,
            ..OutgoingQueueOptions::default()
        });
        let names = ["0", "1", "2", "3", "4"];
        let keys = names.map(|name| world.enqueue(name).unwrap());
        world.settle();
        world.write();
        assert!(
            world
                .engine
                .distant_messages()
                .eq(keys[2..].iter().copied())
        );
        (world, keys.to_vec())
    }

    /// The two first messages leave. Returns what the store is asked for.
    fn run_low(&mut self, keys: &[u64]) -> Option<FetchRequest> {
        assert_eq!(self.store.get().asked, None);
        assert!(!self.outbox.is_writing());
        keys[..2]
            .iter()
            .for_each(|key| _ = self.engine.drop_queued(*key));
        self.settle();
        self.write();
        assert!(self.outbox.is_writing(), "it is reading");
        self.store.get().asked.take()
    }

    /// The store answers. Returns what came of it.
    fn answer(
        &mut self,
        fetched: Vec<FetchedMessage>,
    ) -> (Vec<(&'static str, CallEnd)>, Vec<Fact>) {
        self.store.get().fetched = Some(fetched);
        self.wake()
    }

    fn with_queue(queue: OutgoingQueueOptions) -> Self {
        let mut options = Options::default();
        options.client_identifier = "pump-7".try_into().unwrap();
        options.clean_start = CleanStart::Never;
        options.journal = true;
        options.reconnect = Some(Reconnect {
            initial: true,
            ..Reconnect::default()
        });
        let of_engine = EngineOptions {
            disconnect_timeout: Duration::from_secs(5),
            ends_session: false,
            authenticates: false,
            restarts: false,
        };
        let mut engine = Engine::new(options, Session::default(), 1, of_engine).unwrap();
        engine.open_outgoing_queue(queue, []);
        let now = Instant::now();
        engine.start(now);
        let (store, woken) = (PlayedStore::default(), Arc::new(AtomicBool::new(false)));
        let outbox = RunningOutbox::new(Box::new(store.clone()), Arc::clone(&woken), Vec::new());
        Self {
            engine,
            outbox,
            store,
            woken,
            now,
        }
    }

    fn enqueue(&mut self, name: &'static str) -> Result<u64, PublishRefusal> {
        let terms = MessageTerms::default();
        let accepted = (self.engine).queue_publish(self.now, publish(name), terms, Some(name));
        accepted.map_err(|(_, refusal)| refusal)
    }

    /// What a driver does after each call of the engine. Returns how calls ended, and what was reported.
    fn settle(&mut self) -> (Vec<(&'static str, CallEnd)>, Vec<Fact>) {
        self.engine.settle(self.now);
        while self.outbox.settle(&mut self.engine, self.now) {
            self.engine.settle(self.now);
        }
        self.engine.settle(self.now);
        let (mut ends, mut facts) = (Vec::new(), Vec::new());
        while let Some(woken) = self.engine.next_woken() {
            match woken {
                Woken::Call(name, end) => ends.push((name, end)),
                Woken::Fact(fact) => facts.push(fact),
                Woken::Reader(()) => {}
            }
        }
        (ends, facts)
    }

    /// The store has something to say.
    fn wake(&mut self) -> (Vec<(&'static str, CallEnd)>, Vec<Fact>) {
        self.woken.store(true, Ordering::Release);
        self.settle()
    }

    /// Everything that was submitted is on record.
    fn write(&mut self) -> (Vec<(&'static str, CallEnd)>, Vec<Fact>) {
        let mut played = self.store.get();
        let last = |direction| {
            let of_row = |entry: &StoreEntry| entry.mark.filter(|(row, _)| *row == direction);
            let numbers = played.taken.iter().filter_map(of_row);
            numbers.map(|(_, number)| number).max().unwrap_or(0)
        };
        (played.marks.sent, played.marks.received) =
            (last(Direction::Sent), last(Direction::Received));
        played.marks.on_record = played.tickets;
        drop(played);
        self.wake()
    }

    fn taken(&self) -> Vec<StoreChange> {
        let mut played = self.store.get();
        mem::take(&mut played.taken)
            .into_iter()
            .map(|entry| entry.change)
            .collect()
    }
}

fn publish(payload: &'static str) -> Publish {
    Publish {
        topic: "t".try_into().unwrap(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
    }
}

fn accepted_keys(changes: &[StoreChange]) -> Vec<u64> {
    let key = |change: &StoreChange| match change {
        StoreChange::Session(SessionChange::Accepted { key, .. }) => Some(*key),
        _ => None,
    };
    changes.iter().filter_map(key).collect()
}

#[test]
fn what_is_accepted_is_stored_once_it_is_on_record() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let key = world.enqueue("first").unwrap();
    world.engine.await_stored(key, "stored");
    assert!(world.settle().0.is_empty());
    let (ends, _) = world.write();
    assert_eq!(ends, [("stored", CallEnd::Stored { key })]);
    assert_eq!(accepted_keys(&world.taken()), [key]);
}

#[test]
fn while_a_store_is_behind_nothing_is_accepted_and_nothing_lost() {
    let mut world = World::new(OutgoingPolicy::Wait);
    world.store.get().refuses = Some(SubmitError::Busy);
    let first = world.enqueue("first").unwrap();
    world.settle();
    assert_eq!(world.outbox.stats().behind, 1);
    let busy = PublishRefusal::Invalid(InvalidPublish::StoreBusy);
    assert_eq!(world.enqueue("refused").unwrap_err(), busy);
    let waits = world.engine.queue_or_wait(
        world.now,
        publish("second"),
        MessageTerms::default(),
        None,
        "second",
        "accepted",
    );
    assert!(matches!(waits, Ok((QueueSubmission::Waits(_), None))));
    assert!(world.wake().0.is_empty());
    world.store.get().refuses = None;
    let (ends, _) = world.wake();
    let [("accepted", CallEnd::Queued { key: second })] = ends[..] else {
        panic!("{ends:?}");
    };
    world.settle();
    assert_eq!(accepted_keys(&world.taken()), [first, second]);
}

#[test]
fn a_full_disk_is_reported_once_and_accepts_nothing_until_it_has_space() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let full = DiskError::new(DiskOperation::Write, None, &error);
    world.store.get().marks.full = Some(full);
    for reports in [1, 0] {
        let (_, facts) = world.wake();
        let reported = (facts.iter()).filter(|it| matches!(it, Fact::StoreFull { .. }));
        assert_eq!(reported.count(), reports);
        let busy = PublishRefusal::Invalid(InvalidPublish::StoreBusy);
        assert_eq!(world.enqueue("x").unwrap_err(), busy);
        assert!(world.outbox.stats().is_full);
    }
    world.store.get().marks.full = None;
    world.wake();
    world.enqueue("x").unwrap();
}

#[test]
fn what_has_passed_messages_that_wait_for_space_is_on_record_for_the_engine_and_they_are_not() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let key = world.enqueue("first").unwrap();
    world.engine.await_stored(key, "stored");
    world.settle();
    let accepted = world.engine.core().journal_end(Direction::Sent);
    world.store.get().marks.ahead = accepted;
    assert!(world.wake().0.is_empty());
    assert!((world.engine.core()).is_on_record(Direction::Sent, accepted));
    world.store.get().marks.sent = accepted;
    assert_eq!(world.wake().0, [("stored", CallEnd::Stored { key })]);
}

#[test]
fn a_disk_that_fails_is_reported_and_ends_the_wait_for_it() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let key = world.enqueue("first").unwrap();
    world.engine.await_stored(key, "stored");
    world.settle();
    let error = std::io::Error::from(std::io::ErrorKind::Other);
    let error = DiskError::new(DiskOperation::Sync, None, &error);
    let path = "outbox".into();
    world.store.get().marks.failure = Some(StoreError::Disk { path, error });
    let (ends, facts) = world.wake();
    assert_eq!(ends, [("stored", CallEnd::NotStored { key })]);
    let failed = (facts.iter()).filter(|it| matches!(it, Fact::StoreFailed { .. }));
    assert_eq!(failed.count(), 2, "what is sent, and what is received");
    let refused = PublishRefusal::Invalid(InvalidPublish::StoreFailed);
    assert_eq!(world.enqueue("second").unwrap_err(), refused);
    assert!(world.outbox.stats().has_failed);
}

#[test]
fn how_a_message_ended_is_on_record() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let latest = MessageTerms {
        keep_latest: true,
        expires_in: Some(Duration::from_secs(1)),
    };
    let keys = ["replaced", "expired"].map(|name| {
        let accepted = (world.engine).queue_publish(world.now, publish(name), latest, Some(name));
        accepted.unwrap()
    });
    world.now += Duration::from_secs(2);
    world.engine.on_time(world.now);
    let (ends, _) = world.settle();
    let outcomes: Vec<_> = ends.into_iter().map(|(_, end)| end).collect();
    let expected = [Outcome::Replaced, Outcome::Expired].map(CallEnd::Completed);
    assert_eq!(outcomes, expected);
    let ends: Vec<_> = (world.taken().into_iter())
        .filter(|change| matches!(change, StoreChange::Ended { .. }))
        .collect();
    let ended = |key, how| StoreChange::Ended { key, how };
    assert_eq!(
        ends,
        [
            ended(keys[0], EndedHow::Replaced),
            ended(keys[1], EndedHow::Expired)
        ]
    );
}

#[test]
fn a_message_of_the_quarantine_is_accepted_again_before_it_ends_there() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let retry = StoreEvent::Command(StoreCommand::Retry(7));
    world.store.get().events.push(retry);
    world.wake();
    let asked = world.store.get().asked.take();
    assert_eq!(asked, Some(FetchRequest::Keys(vec![7])));
    let message = StoredPublish::new(7, publish("again"));
    world.store.get().fetched = Some(vec![Ok(message)]);
    world.wake();
    let taken = world.taken();
    let requeued = StoreChange::Ended {
        key: 7,
        how: EndedHow::Requeued,
    };
    let at = taken.iter().position(|change| *change == requeued);
    assert_eq!(at, Some(1), "{taken:?}");
    assert_eq!(accepted_keys(&taken).len(), 1);
}

#[test]
fn a_message_is_dropped_by_a_command() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let waits = world.enqueue("waits").unwrap();
    let quarantined = 1_000;
    let commands = [waits, quarantined].map(|key| StoreEvent::Command(StoreCommand::Drop(key)));
    world.store.get().events.extend(commands);
    let (ends, _) = world.wake();
    assert_eq!(ends, [("waits", CallEnd::Completed(Outcome::Dropped))]);
    let ends = (world.taken().into_iter()).filter_map(|change| match change {
        StoreChange::Ended { key, how } => Some((key, how)),
        _ => None,
    });
    let mut ends: Vec<_> = ends.collect();
    ends.sort_unstable();
    let dropped = EndedHow::Dropped;
    assert_eq!(ends, [(waits, dropped), (quarantined, dropped)]);
}

#[test]
fn what_is_not_on_record_when_the_store_closes_is_said() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let key = world.enqueue("first").unwrap();
    world.engine.await_stored(key, "stored");
    world.settle();
    assert!(world.outbox.close(&mut world.engine, world.now));
    let (ends, _) = world.settle();
    let not_stored = ["stored", "first"].map(|name| (name, CallEnd::NotStored { key }));
    assert_eq!(ends, not_stored);
}

#[test]
fn what_is_on_record_when_the_store_closes_is_kept() {
    let mut world = World::new(OutgoingPolicy::Refuse);
    let key = world.enqueue("first").unwrap();
    world.settle();
    world.write();
    assert!(world.outbox.close(&mut world.engine, world.now));
    let (ends, _) = world.settle();
    assert_eq!(ends, [("first", CallEnd::Kept { key })]);
}

fn read(key: u64) -> FetchedMessage {
    Ok(StoredPublish::new(key, publish("fetched")))
}

#[test]
fn messages_are_fetched_when_those_in_memory_run_low() {
    let (mut world, keys) = World::with_distant_messages();
    let asked = world.run_low(&keys);
    assert_eq!(asked, Some(FetchRequest::Keys(keys[2..4].to_vec())));
    let (ends, facts) = world.answer(vec![read(keys[2]), read(keys[3])]);
    assert_eq!((ends.len(), facts.len()), (0, 0));
    assert!(world.engine.distant_messages().eq([keys[4]]));
    assert!(!world.outbox.is_writing());
    assert_eq!(world.store.get().asked, None, "there are enough of them");
}

#[test]
fn a_message_that_ends_while_it_is_read_is_not_there_again() {
    let (mut world, keys) = World::with_distant_messages();
    world.run_low(&keys);
    assert!(world.engine.drop_queued(keys[2]));
    let (ends, _) = world.answer(vec![read(keys[2]), read(keys[3])]);
    assert_eq!(ends, [("2", CallEnd::Completed(Outcome::Dropped))]);
    assert_eq!(world.engine.queued().0, 2);
}

#[test]
fn messages_that_cannot_be_read_are_reported_and_stay_on_record_unless_they_are_damaged() {
    let (mut world, keys) = World::with_distant_messages();
    world.run_low(&keys);
    world.taken();
    let error = std::io::Error::from(std::io::ErrorKind::Other);
    let failed = DiskError::new(DiskOperation::Read, Some(1), &error);
    let damaged = StoreEvent::MessageLost { key: keys[2] };
    world.store.get().events.push(damaged); // the store has ended it
    let (ends, facts) = world.answer(vec![
        Err((keys[2], ReadError::Damaged)),
        Err((keys[3], ReadError::Disk(failed))),
    ]);
    let lost = [("2", 2), ("3", 3)].map(|(name, at)| (name, CallEnd::NotStored { key: keys[at] }));
    assert_eq!(ends, lost);
    let reported = facts
        .iter()
        .filter(|it| matches!(it, Fact::StoreDamaged { .. }));
    assert_eq!(reported.count(), 2);
    assert_eq!(world.taken(), [], "a file may be readable again");
    assert_eq!(world.engine.queued().0, 1);
    let next = world.store.get().asked.take();
    assert_eq!(next, Some(FetchRequest::Keys(vec![keys[4]])));
}

#[test]
fn a_disk_that_fails_while_messages_are_read_keeps_them_for_the_next_engine() {
    let (mut world, keys) = World::with_distant_messages();
    world.run_low(&keys);
    let error = std::io::Error::from(std::io::ErrorKind::Other);
    let error = DiskError::new(DiskOperation::Sync, None, &error);
    let path = "outbox".into();
    world.store.get().marks.failure = Some(StoreError::Disk { path, error });
    let (ends, _) = world.wake();
    let kept = [("2", 2), ("3", 3), ("4", 4)];
    let kept = kept.map(|(name, at)| (name, CallEnd::Kept { key: keys[at] }));
    assert_eq!(ends, kept);
    assert!(!world.outbox.is_writing());
    assert_eq!(world.engine.queued().0, 0);
}

#[test]
fn a_message_of_the_quarantine_waits_until_others_have_been_read() {
    let (mut world, keys) = World::with_distant_messages();
    world.run_low(&keys);
    let retry = StoreEvent::Command(StoreCommand::Retry(1_007));
    world.store.get().events.push(retry);
    world.wake();
    assert_eq!(world.store.get().asked, None, "an answer is to come");
    world.answer(vec![read(keys[2]), read(keys[3])]);
    let asked = world.store.get().asked.take();
    assert_eq!(asked, Some(FetchRequest::Keys(vec![1_007])));
    world.answer(vec![read(1_007)]);
    assert_eq!(world.engine.queued().0, 4);
}
