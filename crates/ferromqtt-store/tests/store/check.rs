//! A check reads every frame: it finds damage that opening a store does not meet, and what a power cut leaves is none.

use ferromqtt_store::{
    Damage, EndedHow, FRAME_HEADER, FrameAt, FrameHeader, StoreChange, StoreCheck, StoreFinding,
    StoreLog,
};

use crate::disk::{Random, SimDisk};
use crate::folder::{Folder, accepted};
use crate::world::{SEGMENT, publish};

fn open(disk: &SimDisk) -> StoreLog<SimDisk> {
    StoreLog::open_with(disk.clone(), SEGMENT).expect("it opens")
}

fn store(log: &mut StoreLog<SimDisk>, changes: &[StoreChange]) {
    log.append(1, changes).unwrap();
    log.sync().unwrap();
}

/// Keys 1 to 5, each in a frame of its own, in a sealed segment; and key 6 in another.
fn two_segments() -> SimDisk {
    let disk = SimDisk::default();
    let mut log = open(&disk);
    for key in 1..=5 {
        store(&mut log, &[accepted(key, publish(key))]);
    }
    log.seal().unwrap();
    store(&mut log, &[accepted(6, publish(6))]);
    disk
}

/// Where the frames of a segment are, and their numbers.
fn frames(segment: u32, bytes: &[u8]) -> Vec<(usize, u64)> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let FrameAt::Valid(header, _) = FrameHeader::read(segment, &bytes[at..]) {
        frames.push((at, header.number));
        at += header.frame_len();
    }
    frames
}

/// Flips a bit of a frame's body.
fn spoil(disk: &SimDisk, segment: u32, frame: usize) -> u64 {
    let mut bytes = disk.bytes(segment);
    let (at, number) = frames(segment, &bytes)[frame];
    bytes[at + FRAME_HEADER + 3] ^= 1;
    disk.set_bytes(segment, bytes);
    number
}

fn check(disk: &SimDisk) -> StoreCheck {
    StoreCheck::of_disk(disk.clone()).unwrap()
}

#[test]
fn a_sound_store_has_no_findings() {
    let disk = two_segments();
    let check = check(&disk);
    assert_eq!(check.findings, []);
    // Five and its index, and one.
    assert_eq!((check.segments, check.frames, check.messages), (2, 7, 6));
    assert_eq!(check.bytes, disk.length() as u64);
}

#[test]
fn damage_below_an_index_is_found_with_the_messages_that_are_lost() {
    let disk = two_segments();
    let number = spoil(&disk, 1, 3);
    assert_eq!(open(&disk.copy()).new_damages(), []); // opening it does not meet that
    let check = check(&disk);
    let damage = Damage {
        segment: 1,
        first: number,
        last: number,
    };
    let messages = vec![4];
    let finding = StoreFinding::Unreadable { damage, messages };
    assert_eq!(check.findings, [finding]);
    assert_eq!(check.messages, 5);
}

#[test]
fn places_of_damage_are_told_apart() {
    let disk = two_segments();
    for frame in [3, 1, 0] {
        spoil(&disk, 1, frame);
    }
    let found: Vec<_> = (check(&disk).findings.into_iter())
        .map(|finding| match finding {
            StoreFinding::Unreadable { damage, messages } => (damage.first, damage.last, messages),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found, [(1, 2, vec![1, 2]), (4, 4, vec![4])]);
}

#[test]
fn damage_in_a_segment_without_an_index_and_a_segment_that_is_gone_lose_what_they_recorded() {
    let disk = two_segments();
    let mut log = open(&disk);
    store(&mut log, &[accepted(7, publish(7))]);
    store(&mut log, &[accepted(8, publish(8))]);
    drop(log);
    let newest = *disk.numbers().last().unwrap();
    let number = spoil(&disk, newest, 1);
    disk.lose_file(1);
    let damages: Vec<_> = check(&disk).damages().collect();
    let frames: Vec<_> = damages.iter().map(|it| (it.first, it.last)).collect();
    assert_eq!(frames, [(1, 5), (number, number)]);
    // Once an owner has opened it and written, it has been reported.
    let mut log = open(&disk);
    assert_eq!(log.new_damages(), damages);
    store(&mut log, &[accepted(9, publish(9))]);
    let check = check(&disk);
    let reported =
        |finding: &StoreFinding| matches!(finding, StoreFinding::Lost { reported: true, .. });
    assert!(check.findings.iter().any(reported), "{check:?}");
}

#[test]
fn a_torn_tail_and_a_lost_index_are_no_damage() {
    let disk = two_segments();
    let whole = disk.bytes(1);
    disk.set_bytes(1, whole[..whole.len() - 1].to_vec()); // the trailer
    let mut bytes = disk.bytes(2);
    let length = bytes.len() as u64;
    bytes.extend_from_slice(b"fmq1 torn");
    disk.set_bytes(2, bytes);
    let check = check(&disk);
    assert_eq!(check.damages().count(), 0);
    assert_eq!(check.messages, 6);
    let torn = StoreFinding::Leftover {
        segment: 2,
        at: length,
        bytes: 9,
    };
    assert!(check.findings.contains(&torn), "{check:?}");
}

#[test]
fn no_power_cut_is_damage() {
    let (mut leftovers, mut unused) = (0, 0);
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let disk = SimDisk::default();
        let mut log = open(&disk);
        let mut first = 1;
        for key in 1..=random.below(60) {
            log.append(1, &[accepted(key, publish(key))]).unwrap();
            if random.one_in(4) {
                let how = EndedHow::Acknowledged;
                log.append(1, &[StoreChange::Ended { key: first, how }])
                    .unwrap();
                first += 1;
            }
            if random.one_in(3) {
                log.sync().unwrap();
                log.tidy().unwrap();
            }
        }
        drop(log);
        disk.cut_power(&mut random);
        let check = check(&disk);
        assert_eq!(check.damages().count(), 0, "seed {seed}: {check:?}");
        let found = check.findings.iter();
        leftovers += (found.clone())
            .filter(|it| matches!(it, StoreFinding::Leftover { .. }))
            .count();
        unused += found
            .filter(|it| matches!(it, StoreFinding::Unused { .. }))
            .count();
    }
    assert!(leftovers > 20 && unused > 0, "{leftovers} {unused}");
}

#[test]
fn any_bytes_in_place_of_a_segment_are_checked() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let disk = two_segments();
        for segment in disk.numbers() {
            let mut bytes = disk.bytes(segment);
            for _ in 0..random.below(40) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            disk.set_bytes(segment, bytes);
        }
        let _ = StoreCheck::of_disk(disk);
    }
}

/// Its owner seals, copies and removes segments meanwhile.
#[test]
fn a_check_beside_the_owner_finds_no_damage_and_reading_misses_no_message() {
    let folder = Folder::new();
    let mut program = folder.start();
    let ticket = program.accept(1, publish(1)); // stays
    program.wait_for_record(ticket);
    let path = folder.path().to_owned();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let checking = std::thread::spawn(move || {
        let mut checks = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) || checks < 3 {
            let check = StoreCheck::of_folder(&path).unwrap();
            assert_eq!(check.damages().count(), 0, "{check:?}");
            let reader = ferromqtt_store::StoreReader::open(&path).unwrap();
            assert_eq!(reader.new_damages(), []);
            assert_eq!(reader.messages_from(0).next().map(|it| it.key), Some(1));
            checks += 1;
        }
    });
    for round in 0..80 {
        let keys = 2 + round * 100..102 + round * 100;
        for key in keys.clone() {
            let mut message = publish(key);
            message.payload = vec![key as u8; 5_000].into();
            program.accept(key, message);
        }
        let mut ticket = 0;
        for key in keys {
            let how = EndedHow::Acknowledged;
            ticket = program.submit(StoreChange::Ended { key, how });
        }
        program.wait_for_record(ticket);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    checking.join().unwrap();
}
