//! Disks that give back other bytes than they got: the log opens, keeps what it can read, and says what it lost.

use std::collections::BTreeSet;

use ferromqtt_proto::{PacketId, SessionChange};
use ferromqtt_store::{
    Damage, EndedHow, FRAME_HEADER, FrameAt, FrameHeader, LogError, ReadError, RecoveryError,
    StoreChange, StoreLog,
};
use proptest::prelude::*;

use crate::disk::{Random, SimDisk};
use crate::folder::accepted;
use crate::world::{SEGMENT, publish};

fn open(disk: &SimDisk) -> StoreLog<SimDisk> {
    StoreLog::open_with(disk.clone(), SEGMENT).expect("it opens")
}

fn store(log: &mut StoreLog<SimDisk>, changes: &[StoreChange]) {
    log.append(1, changes).unwrap();
    log.sync().unwrap();
}

fn session(change: SessionChange) -> StoreChange {
    StoreChange::Session(change)
}

fn received(id: u16) -> StoreChange {
    let packet_id = PacketId::new(id).unwrap();
    session(SessionChange::Received { packet_id })
}

fn ended(key: u64) -> StoreChange {
    StoreChange::Ended {
        key,
        how: EndedHow::Acknowledged,
    }
}

fn keys(log: &StoreLog<SimDisk>) -> BTreeSet<u64> {
    log.messages().map(|message| message.key).collect()
}

/// Where the frames of a segment are: start, end, and number.
fn frames(segment: u32, bytes: &[u8]) -> Vec<(usize, usize, u64)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let FrameAt::Valid(header, _) = FrameHeader::read(segment, &bytes[at..]) {
        frames.push((at, at + header.frame_len(), header.number));
        at += header.frame_len();
    }
    frames
}

fn flip(disk: &SimDisk, segment: u32, bit: usize) {
    let mut bytes = disk.bytes(segment);
    bytes[bit / 8] ^= 1 << (bit % 8);
    disk.set_bytes(segment, bytes);
}

/// Keys 1 to 5, each in a frame of its own.
fn five_frames() -> SimDisk {
    let disk = SimDisk::default();
    drop(log_of_five_frames(&disk));
    disk
}

fn log_of_five_frames(disk: &SimDisk) -> StoreLog<SimDisk> {
    let mut log = open(disk);
    for key in 1..=5 {
        store(
            &mut log,
            &[accepted(key, publish(key)), received(key as u16)],
        );
    }
    log
}

#[test]
fn a_frame_that_was_on_the_disk_and_is_not_is_damage() {
    let disk = five_frames();
    let (start, _, number) = frames(1, &disk.bytes(1))[2];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let log = open(&disk);
    let damage = Damage {
        segment: 1,
        first: number,
        last: number,
    };
    assert_eq!(log.new_damages(), [damage]);
    assert_eq!(keys(&log), BTreeSet::from([1, 2, 4, 5]));
    assert_eq!(disk.kept_damaged(), [1]);
}

#[test]
fn the_last_frame_that_is_invalid_may_be_torn_and_ends_the_log() {
    let disk = five_frames();
    let (start, ..) = frames(1, &disk.bytes(1))[4];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let log = open(&disk);
    assert_eq!(log.new_damages(), []);
    assert_eq!(keys(&log), BTreeSet::from([1, 2, 3, 4]));
}

#[test]
fn damage_is_reported_once() {
    let disk = five_frames();
    let (start, ..) = frames(1, &disk.bytes(1))[1];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let mut log = open(&disk);
    assert_eq!(log.new_damages().len(), 1);
    store(&mut log, &[accepted(6, publish(6))]);
    for _ in 0..3 {
        let log = open(&disk);
        assert_eq!(log.new_damages(), []);
        assert_eq!(keys(&log), BTreeSet::from([1, 3, 4, 5, 6]));
    }
    assert_eq!(disk.kept_damaged(), [1]);
}

#[test]
fn inbound_identifiers_from_before_damage_are_forgotten() {
    let disk = five_frames();
    let (start, ..) = frames(1, &disk.bytes(1))[2];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let mut log = open(&disk);
    let changes = log.session_changes().unwrap();
    let id = |id| PacketId::new(id).unwrap();
    let expected = [4, 5].map(|it| SessionChange::Received { packet_id: id(it) });
    assert_eq!(changes, expected);
}

#[test]
fn a_segment_that_is_gone_is_damage() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for key in 1..=3 {
        store(&mut log, &[accepted(key, publish(key))]);
        log.seal().unwrap();
    }
    store(&mut log, &[accepted(4, publish(4))]);
    disk.lose_file(2);
    let log = open(&disk);
    assert_eq!(log.new_damages().len(), 1);
    assert_eq!(keys(&log), BTreeSet::from([1, 3, 4]));
}

#[test]
fn an_index_outlives_its_frames_and_a_lost_index_costs_nothing() {
    let disk = SimDisk::default();
    let mut log = log_of_five_frames(&disk);
    log.seal().unwrap();
    store(&mut log, &[accepted(6, publish(6))]);
    let whole = disk.bytes(1);
    let index_at = frames(1, &whole)[5].0;
    for bit in [index_at * 8 + 300, whole.len() * 8 - 1] {
        flip(&disk, 1, bit);
        let mut log = open(&disk);
        assert_eq!(log.new_damages(), [], "bit {bit}");
        assert_eq!(keys(&log), (1..=6).collect());
        for key in 1..=6 {
            assert_eq!(log.read(key).unwrap().unwrap().publish, publish(key));
        }
        disk.set_bytes(1, whole.clone());
    }
}

#[test]
fn a_message_whose_bytes_are_damaged_is_found_when_it_is_read() {
    let disk = SimDisk::default();
    let mut log = log_of_five_frames(&disk);
    log.seal().unwrap();
    store(&mut log, &[accepted(6, publish(6))]);
    let (start, ..) = frames(1, &disk.bytes(1))[3];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let mut log = open(&disk);
    assert_eq!(keys(&log), (1..=6).collect());
    assert_eq!(log.read(4), Some(Err(ReadError::Damaged)));
    assert_eq!(log.read(5).unwrap().unwrap().publish, publish(5));
}

#[test]
fn a_damaged_message_is_not_copied_and_ends() {
    let disk = SimDisk::default();
    let mut log = log_of_five_frames(&disk);
    store(&mut log, &[ended(1), ended(5)]);
    log.seal().unwrap();
    store(&mut log, &[accepted(6, publish(6))]);
    let (start, ..) = frames(1, &disk.bytes(1))[3];
    flip(&disk, 1, (start + FRAME_HEADER + 3) * 8);
    let mut log = open(&disk);
    for key in 7..=9 {
        store(&mut log, &[accepted(key, publish(key))]);
        log.seal().unwrap();
    }
    store(&mut log, &[accepted(10, publish(10))]);
    while log.tidy_now().unwrap() {}
    let left = BTreeSet::from([2, 3, 6, 7, 8, 9, 10]);
    assert_eq!(keys(&log), left);
    assert_eq!(log.stats().counters.damaged, 1);
    assert_eq!(disk.kept_damaged(), [1]);
    let log = open(&disk);
    assert_eq!(keys(&log), left);
    assert_eq!(log.stats().counters.damaged, 1);
}

#[test]
fn a_flipped_bit_is_harmless_or_reported() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for key in 1..=12 {
        store(
            &mut log,
            &[accepted(key, publish(key)), received(key as u16)],
        );
        if key > 6 {
            store(&mut log, &[ended(key - 6)]);
        }
        if key == 5 {
            log.seal().unwrap();
        }
    }
    let expected = keys(&log);
    let last = disk.numbers().last().copied().unwrap();
    let mut random = Random::new(4_711);
    let mut reported = 0;
    for segment in disk.numbers() {
        let whole = disk.bytes(segment);
        // The last frame cannot be told from one that was never written as a whole.
        let end = match segment == last {
            true => frames(segment, &whole).last().unwrap().0,
            false => whole.len(),
        };
        for _ in 0..300 {
            let bit = random.below(end as u64 * 8) as usize;
            let disk = disk.copy();
            flip(&disk, segment, bit);
            let mut log = open(&disk);
            let found = keys(&log);
            let mut unreadable = 0;
            for key in found.iter().copied() {
                match log.read(key).unwrap() {
                    Ok(message) => assert_eq!(message.publish, publish(key), "bit {bit}"),
                    Err(ReadError::Damaged) => unreadable += 1,
                    Err(error) => panic!("bit {bit}: {error:?}"),
                }
            }
            if log.new_damages().is_empty() && unreadable == 0 {
                assert_eq!(found, expected, "bit {bit} of segment {segment}");
            } else {
                reported += 1;
            }
        }
    }
    assert!(reported > 30, "{reported} were reported");
}

#[test]
fn a_log_of_a_later_version_is_refused_and_kept() {
    let disk = five_frames();
    let mut bytes = disk.bytes(1);
    let (start, end, _) = frames(1, &bytes)[0];
    bytes[start + 3] = b'2';
    let checksum = crc32c::crc32c(&1_u32.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &bytes[start..start + 8]);
    let checksum = crc32c::crc32c_append(checksum, &bytes[start + 12..end]);
    bytes[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
    disk.set_bytes(1, bytes.clone());
    let Err(error) = StoreLog::open(disk.clone()) else {
        panic!("it was opened");
    };
    assert_eq!(error, RecoveryError::NewerVersion('2'));
    assert_eq!(disk.bytes(1), bytes);
}

/// The first frame of segment 1, with these records.
fn first_frame(records: &[u8]) -> Vec<u8> {
    let mut head = b"fmq1".to_vec();
    head.extend((records.len() as u32).to_le_bytes());
    let mut covered = 1_u64.to_le_bytes().to_vec();
    covered.extend(0_u64.to_le_bytes());
    covered.extend(records);
    let checksum = crc32c::crc32c(&1_u32.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &head);
    let checksum = crc32c::crc32c_append(checksum, &covered);
    head.extend(checksum.to_le_bytes());
    head.extend(covered);
    head
}

#[test]
fn a_floor_above_its_own_segment_takes_nothing_away() {
    const FLOOR: [u8; 4] = [14, 2, 59, 3];
    let disk = SimDisk::default();
    disk.set_bytes(1, first_frame(&FLOOR));
    let mut log = open(&disk);
    store(&mut log, &[accepted(1, publish(1))]);
    let _ = log.tidy_now().unwrap();
    assert_eq!(log.read(1).unwrap().unwrap().publish, publish(1));
    assert_eq!(keys(&open(&disk)), BTreeSet::from([1]));
}

#[test]
fn a_full_disk_refuses_and_goes_on_when_there_is_space() {
    let disk = five_frames();
    let mut log = open(&disk);
    store(&mut log, &[accepted(6, publish(6))]);
    disk.set_capacity(Some(disk.length() + 20));
    let refused = log.append(1, &[accepted(7, publish(7))]);
    assert!(matches!(refused, Err(LogError::Full(_))), "{refused:?}");
    assert_eq!(keys(&log), (1..=6).collect());
    disk.set_capacity(None);
    store(&mut log, &[accepted(7, publish(7))]);
    assert_eq!(keys(&open(&disk)), (1..=7).collect());
}

#[test]
fn a_log_opens_on_a_full_disk_and_its_ends_make_space() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    let mut message = publish(1);
    message.payload = vec![1; 900].into();
    for key in 1..=40 {
        log.append(1, &[accepted(key, message.clone())]).unwrap();
    }
    drop(log);
    disk.set_capacity(Some(disk.length() + 600));
    let mut log = open(&disk);
    assert_eq!(keys(&log), (1..=40).collect());
    for key in 1..=40 {
        store(&mut log, &[ended(key)]);
        match log.tidy_now() {
            Ok(_) | Err(LogError::Full(_)) => {} // a copy may have to wait
            Err(error) => panic!("{error}"),
        }
    }
    assert!(disk.length() < 5_000, "{} bytes", disk.length());
    store(&mut log, &[accepted(41, message)]);
}

#[test]
fn what_has_ended_leaves_the_disk() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for key in 1..=2_000 {
        store(&mut log, &[accepted(key, publish(key))]);
        if key > 10 {
            store(&mut log, &[ended(key - 10)]);
        }
        let _ = log.tidy().unwrap();
        let segments = log.stats().segments;
        assert!(segments <= 5, "{segments} segments");
    }
    assert_eq!(keys(&open(&disk)), (1_991..=2_000).collect());
}

#[test]
fn a_message_that_stays_is_copied_now_and_then() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    let mut written = 0;
    let mut payloads = 0;
    store(&mut log, &[accepted(1, publish(1))]);
    for key in 2..=2_000 {
        payloads += publish(key).payload.len() + 60;
        store(&mut log, &[accepted(key, publish(key))]);
        store(&mut log, &[ended(key)]);
        let _ = log.tidy().unwrap();
        written = written.max(disk.length());
    }
    assert_eq!(log.read(1).unwrap().unwrap().publish, publish(1));
    assert!(written < 6 * SEGMENT as usize, "{written} bytes at once");
    assert!(payloads > 20 * SEGMENT as usize);
    assert_eq!(keys(&open(&disk)), BTreeSet::from([1]));
}

#[test]
fn a_sync_that_fails_costs_nothing_that_is_said_to_be_on_record() {
    let disk = five_frames();
    let mut log = open(&disk);
    store(&mut log, &[accepted(6, publish(6))]);
    log.append(1, &[accepted(7, publish(7))]).unwrap();
    disk.fail_next(crate::disk::Fault::Sync);
    log.sync().unwrap();
    disk.cut_power(&mut Random::new(1));
    assert_eq!(keys(&open(&disk)), (1..=7).collect());
}

#[test]
fn a_disk_that_fails_twice_ends_the_log() {
    let disk = five_frames();
    let mut log = open(&disk);
    store(&mut log, &[accepted(6, publish(6))]);
    log.append(1, &[accepted(7, publish(7))]).unwrap();
    disk.fail_next(crate::disk::Fault::Sync);
    disk.fail_next(crate::disk::Fault::Sync);
    let failed = log.sync();
    assert!(matches!(failed, Err(LogError::Failed(_))), "{failed:?}");
    assert_eq!(log.append(1, &[accepted(8, publish(8))]), failed);
    disk.cut_power(&mut Random::new(1));
    assert!(keys(&open(&disk)).is_superset(&(1..=6).collect()));
}

#[test]
fn nothing_expires_while_the_clock_is_behind_what_was_on_record() {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    log.append(5_000, &[accepted(1, publish(1))]).unwrap();
    let log = open(&disk);
    assert_eq!(log.clock_at(0), 5_000);
    assert_eq!(log.clock_at(6_000), 6_000);
}

proptest! {
    #[test]
    fn any_bytes_are_opened(
        files in prop::collection::vec((1_u32..5, prop::collection::vec(any::<u8>(), 0..300)), 0..4),
        cut in any::<prop::sample::Index>(),
        replaced in any::<u8>(),
    ) {
        let disk = five_frames();
        for (segment, bytes) in files {
            // Behind a whole segment, and in place of one.
            let mut whole = if segment == 1 { disk.bytes(1) } else { Vec::new() };
            whole.truncate(cut.index(whole.len() + 1));
            whole.extend(bytes);
            if let Some(byte) = whole.first_mut() {
                *byte ^= replaced & 1;
            }
            disk.set_bytes(segment, whole);
        }
        let mut log = open(&disk);
        for key in keys(&log) {
            if let Ok(message) = log.read(key).unwrap() {
                prop_assert_eq!(message.publish, publish(key));
            }
        }
        store(&mut log, &[accepted(100, publish(100))]);
        prop_assert!(keys(&open(&disk)).contains(&100));
    }
}
