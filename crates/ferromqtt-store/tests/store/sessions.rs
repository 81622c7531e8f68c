//! A session that went through the log is the session that went without.

use ferromqtt_proto::{Direction, JournalEntry, PacketId, Session, SessionChange, Utf8String};
use ferromqtt_store::{StoreChange, StoreLog};

use crate::disk::{Random, SimDisk};
use crate::world::{SEGMENT, publish};

/// The changes of a client that publishes, receives and loses its session, as its journal has them.
struct Program {
    random: Random,
    next_key: u64,
    /// Messages on their way: key, identifier, and whether PUBREC came.
    sent: Vec<(u64, u16, bool)>,
    /// Messages of a lost session that wait to be sent again.
    lost: Vec<u64>,
    received: Vec<u16>,
}

impl Program {
    fn step(&mut self) -> Vec<SessionChange> {
        let free = |used: &dyn Fn(u16) -> bool| (1..).find(|id| !used(*id)).unwrap();
        let id = |id: u16| PacketId::new(id).unwrap();
        match self.random.below(12) {
            0..=3 => {
                let packet_id = free(&|it| self.sent.iter().any(|(_, used, _)| *used == it));
                let (key, change) = match self.lost.pop() {
                    Some(key) => (key, None),
                    None => {
                        self.next_key += 1;
                        let (key, publish) = (self.next_key, publish(self.next_key));
                        let accepted = SessionChange::Accepted {
                            key,
                            publish,
                            expires_in: None,
                            keep_latest: false,
                        };
                        (key, Some(accepted))
                    }
                };
                self.sent.push((key, packet_id, false));
                let packet_id = id(packet_id);
                let sending = SessionChange::Sending { key, packet_id };
                change.into_iter().chain([sending]).collect()
            }
            4 => match self.sent.iter_mut().find(|(.., released)| !released) {
                Some((key, _, released)) => {
                    *released = true;
                    vec![SessionChange::Releasing { key: *key }]
                }
                None => vec![],
            },
            5 if !self.sent.is_empty() => {
                let at = self.random.below(self.sent.len() as u64) as usize;
                let (key, ..) = self.sent.remove(at);
                vec![SessionChange::Finished { key }]
            }
            6..=7 => {
                let packet_id = free(&|it| self.received.contains(&it));
                self.received.push(packet_id);
                let packet_id = id(packet_id);
                vec![SessionChange::Received { packet_id }]
            }
            8 => {
                let released = self.received.pop();
                let packet_id = released.map(id);
                packet_id.map_or(vec![], |packet_id| {
                    vec![SessionChange::Released { packet_id }]
                })
            }
            9 => vec![SessionChange::Connecting],
            10 => vec![SessionChange::Resumed],
            _ if self.random.one_in(4) => {
                self.received.clear();
                let (uncertain, again): (Vec<_>, Vec<_>) =
                    self.sent.drain(..).partition(|(.., released)| *released);
                self.lost.extend(again.iter().rev().map(|(key, ..)| *key));
                let uncertain = uncertain.into_iter();
                let uncertain = uncertain.map(|(key, ..)| SessionChange::Uncertain { key });
                let lost = [Direction::Sent, Direction::Received];
                let lost = lost.map(|direction| SessionChange::SessionLost { direction });
                uncertain.chain(lost).collect()
            }
            _ => vec![],
        }
    }
}

/// A session as changes. An identifier of a session that is lost means nothing, and those of received messages have no order.
fn told(changes: impl IntoIterator<Item = SessionChange>, next_key: u64) -> Vec<SessionChange> {
    let entries = (1..).zip(changes).map(|(sequence, change)| JournalEntry {
        sequence,
        change,
        holds: false,
    });
    let name = Utf8String::try_from("pump-7").unwrap();
    let session = Session::restore(name, next_key, entries);
    let mut changes: Vec<_> = session.record().collect();
    let lost = SessionChange::SessionLost {
        direction: Direction::Sent,
    };
    let of_lost = changes.iter().position(|change| *change == lost);
    for change in &mut changes[..of_lost.unwrap_or(0)] {
        if let SessionChange::Publishing { packet_id, .. } = change {
            *packet_id = PacketId::MIN;
        }
    }
    changes.sort_by_key(|change| match change {
        SessionChange::Received { packet_id } => packet_id.get(),
        _ => 0,
    });
    changes
}

#[test]
fn a_session_is_restored_from_the_log_as_from_its_journal() {
    let mut sizes = 0;
    for seed in 0..200 {
        let mut program = Program {
            random: Random::new(seed),
            next_key: 0,
            sent: vec![],
            lost: vec![],
            received: vec![],
        };
        let disk = SimDisk::default();
        let mut log = StoreLog::open_with(disk.clone(), SEGMENT).unwrap();
        let mut journal = Vec::new();
        for _ in 0..program.random.below(120) {
            let changes = program.step();
            let batch: Vec<_> = changes.iter().cloned().map(StoreChange::Session).collect();
            log.append(0, &batch).unwrap();
            journal.extend(changes);
        }
        log.sync().unwrap();
        drop(log);
        disk.end_process();
        let mut log = StoreLog::open_with(disk, SEGMENT).unwrap();
        let next_key = log.next_key();
        let stored = log.session_changes().unwrap();
        let restored = told(stored, next_key);
        assert_eq!(restored, told(journal, next_key), "seed {seed}");
        sizes += restored.len();
    }
    assert!(sizes > 1_000, "{sizes}");
}
