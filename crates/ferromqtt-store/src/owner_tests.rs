//! The thread's work, step by step, on a disk in memory.

use bytes::Bytes;
use ferromqtt_proto::{Direction, PacketId, Publish, QoS, SessionChange, TopicName};

use super::*;
use crate::disk::DiskOperation;
use crate::store::StoreMarks;
use sim_disk::{Fault, SimDisk};

#[allow(dead_code, reason = "the tests beside use the rest")]
#[path = "../tests/store/disk.rs"]
mod sim_disk;

const SESSION_LOST: StoreChange = StoreChange::Session(SessionChange::SessionLost {
    direction: Direction::Sent,
});

fn owner(disk: &SimDisk, sync: StoreSync) -> FilesOwner<SimDisk> {
    let log = StoreLog::open_with(disk.clone(), 4_000).unwrap();
    let shared = Arc::new(StoreShared::default());
    FilesOwner::new(log, shared, sync, PathBuf::from("none"), None)
}

impl FilesOwner<SimDisk> {
    fn submit(&mut self, change: StoreChange) {
        let mark = self.shared.marks().sent + self.queue.len() as u64 + 1;
        self.queue.push_back(queued(StoreEntry {
            change,
            mark: Some((Direction::Sent, mark)),
        }));
    }

    fn accept(&mut self, key: u64) {
        let publish = Publish {
            topic: TopicName::new("t").unwrap(),
            payload: Bytes::from(vec![7; 700]),
            qos: QoS::ExactlyOnce,
            retain: false,
            properties: None,
        };
        self.submit(StoreChange::Session(SessionChange::Accepted {
            key,
            publish,
            expires_in: None,
            keep_latest: false,
        }));
    }

    fn send(&mut self, key: u64) {
        let packet_id = PacketId::MIN;
        let sending = SessionChange::Sending { key, packet_id };
        self.submit(StoreChange::Session(sending));
    }

    fn end(&mut self, key: u64) {
        let how = EndedHow::Acknowledged;
        self.submit(StoreChange::Ended { key, how });
    }

    fn marks(&self) -> StoreMarks {
        self.shared.marks()
    }

    fn keys(&self) -> Vec<u64> {
        self.log.messages().map(|message| message.key).collect()
    }
}

#[test]
fn on_a_full_disk_ends_are_written_ahead_and_make_space() {
    let disk = SimDisk::default();
    let mut owner = owner(&disk, StoreSync::Always);
    for key in 1..=20 {
        owner.accept(key);
        owner.write_queue().unwrap();
    }
    assert_eq!(owner.marks().on_record, 20);
    disk.set_capacity(Some(disk.length() + 450));
    owner.accept(21);
    owner.send(21);
    owner.send(1);
    owner.end(1);
    owner.write_queue().unwrap();
    let marks = owner.marks();
    assert!(marks.full.is_some_and(|error| error.is_full()));
    assert_eq!(marks.on_record, 20); // message 21 waits
    assert_eq!(owner.keys(), (2..=20).collect::<Vec<_>>());
    for key in 2..=12 {
        owner.end(key);
        owner.write_queue().unwrap();
    }
    owner.try_again_at = None; // a second later
    owner.write_queue().unwrap();
    let marks = owner.marks();
    assert_eq!((marks.full, marks.on_record), (None, 35));
    assert_eq!(marks.sent, 35);
    let mut log = StoreLog::open_with(disk.copy(), 4_000).unwrap();
    let keys: Vec<_> = log.messages().map(|message| message.key).collect();
    assert_eq!(keys, (13..=21).collect::<Vec<_>>());
    let sent = log.session_changes().unwrap();
    assert_eq!(sent.len(), 1, "message 21 is on the wire: {sent:?}");
}

#[test]
fn on_a_full_disk_nothing_of_a_waiting_message_goes_ahead_nor_what_follows_a_lost_session() {
    let disk = SimDisk::default();
    let mut owner = owner(&disk, StoreSync::Always);
    owner.accept(1);
    owner.accept(2);
    owner.send(1);
    owner.send(2);
    owner.write_queue().unwrap();
    disk.set_capacity(Some(disk.length() + 300));
    owner.accept(3);
    owner.send(3);
    owner.submit(SESSION_LOST);
    owner.submit(StoreChange::Session(SessionChange::Releasing { key: 1 }));
    owner.end(2);
    owner.write_queue().unwrap();
    let sent = |log: &StoreLog<SimDisk>| {
        let sent = log.messages().map(|it| (it.key, it.sent));
        sent.collect::<Vec<_>>()
    };
    let found = sent(&owner.log);
    assert_eq!(found.len(), 1, "{found:?}");
    let state = found[0].1.unwrap();
    assert!(state.packet_id.is_some() && state.released.is_none());
    disk.set_capacity(None);
    owner.try_again_at = None;
    owner.write_queue().unwrap();
    let found = sent(&owner.log);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(owner.marks().full, None);
}

#[test]
fn on_a_full_disk_what_messages_that_wait_do_not_concern_is_on_record_ahead_of_them() {
    let disk = SimDisk::default();
    let mut owner = owner(&disk, StoreSync::Always);
    owner.accept(1);
    owner.send(1);
    owner.write_queue().unwrap();
    disk.set_capacity(Some(disk.length() + 600));
    owner.accept(2); // number 3
    owner.submit(SESSION_LOST);
    let packet_id = PacketId::MIN;
    owner.queue.push_back(queued(StoreEntry {
        change: StoreChange::Session(SessionChange::Received { packet_id }),
        mark: Some((Direction::Received, 1)),
    }));
    owner.accept(3);
    owner.send(3);
    owner.write_queue().unwrap();
    let marks = owner.marks();
    assert!(marks.full.is_some());
    assert_eq!((marks.on_record, marks.sent), (2, 2));
    assert_eq!((marks.ahead, marks.received), (6, 1)); // up to the acceptance of message 3
    let mut log = StoreLog::open_with(disk.copy(), 4_000).unwrap();
    let changes = log.session_changes().unwrap().into_iter();
    let changes: Vec<_> = changes.map(StoreChange::Session).collect();
    let received = StoreChange::Session(SessionChange::Received { packet_id });
    assert_eq!(changes[1..], [SESSION_LOST, received], "{changes:?}");
    disk.set_capacity(None);
    owner.try_again_at = None;
    owner.write_queue().unwrap();
    let marks = owner.marks();
    assert_eq!((marks.on_record, marks.sent, marks.ahead), (7, 7, 7));
}

#[test]
fn a_full_disk_is_tried_again_after_a_while_only() {
    let disk = SimDisk::default();
    let mut owner = owner(&disk, StoreSync::Always);
    owner.accept(1);
    disk.set_capacity(Some(10));
    owner.write_queue().unwrap();
    let operations = disk.operations();
    owner.write_queue().unwrap();
    assert_eq!(disk.operations(), operations);
    assert!(owner.try_again_at.is_some());
}

#[test]
fn a_disk_that_fails_twice_is_reported_and_nothing_more_becomes_on_record() {
    let disk = SimDisk::default();
    let mut owner = owner(&disk, StoreSync::Always);
    let shared = Arc::clone(&owner.shared);
    owner.accept(1);
    owner.write_queue().unwrap();
    owner.accept(2);
    disk.fail_next(Fault::Sync);
    disk.fail_next(Fault::Sync);
    owner.run();
    let marks = shared.marks();
    assert_eq!((marks.on_record, marks.closed), (1, true));
    let Some(StoreError::Disk { error, .. }) = marks.failure else {
        panic!("no failure is reported");
    };
    assert_eq!(error.operation, DiskOperation::Sync);
    let refused = shared.submit(StoreEntry {
        change: StoreChange::Session(SessionChange::Connecting),
        mark: None,
    });
    assert!(matches!(
        refused.unwrap_err().1,
        crate::SubmitError::Failed(_)
    ));
}

#[test]
fn a_batch_is_bounded_by_entries_and_bytes() {
    let mut owner = owner(&SimDisk::default(), StoreSync::Always);
    for key in 1..=5_000 {
        owner.end(key);
    }
    assert_eq!(owner.batch_len(), BATCH_ENTRIES);
    owner.queue.clear();
    for key in 1..=5_000 {
        owner.accept(key);
    }
    let size = owner.queue[0].size;
    assert_eq!(owner.batch_len(), BATCH_BYTES / size);
    owner.queue.clear();
    owner.accept(1);
    owner.queue[0].size = 2 * BATCH_BYTES;
    owner.accept(2);
    assert_eq!(owner.batch_len(), 1);
}
