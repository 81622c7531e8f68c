//! Any bytes in the files of a store: as they come, or as the body of a frame whose checksum is right.
//!
//! Checked are: no panic, also of a check; no more memory than some times the bytes of the files, whatever lengths they state;
//! every log opens; a message is read as it was written, or not at all; what is written behind is found when the log is opened
//! again.
#![no_main]

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use ferromqtt_fuzz::source::Source;
use ferromqtt_proto::{Publish, QoS, SessionChange, TopicName};
use ferromqtt_store::{Disk, RecoveryError, SegmentFile, StoreChange, StoreCheck, StoreLog};
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a log may hold beside what is in its files.
const MEMORY_OF_LOG: usize = 256 * 1024;
/// For each byte of its files: they are read, and a record of few bytes becomes an entry of a map.
const MEMORY_PER_BYTE: usize = 200;

fuzz_target!(|input: &[u8]| {
    let disk = files(&mut Source::new(input));
    let bytes: usize = disk.0.values().map(Vec::len).sum();
    let check = StoreCheck::of_disk(MemoryDisk(disk.0.clone()));
    assert!(matches!(check, Ok(_) | Err(RecoveryError::NewerVersion(_))));
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let disk = match StoreLog::open(disk) {
        Ok(log) => look(log),
        Err(RecoveryError::NewerVersion(_)) => return,
        Err(error) => panic!("it does not open: {error:?}"),
    };
    let used = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        used <= MEMORY_OF_LOG + MEMORY_PER_BYTE * bytes,
        "{used} bytes of memory for {bytes}"
    );
    let mut log = StoreLog::open(disk).expect("it opens again");
    let message = log.read(u64::MAX - 1).expect("it is found");
    assert_eq!(message.expect("it is read").publish.payload, "behind");
});

/// Reads all, writes a message, and ends the log.
fn look(mut log: StoreLog<MemoryDisk>) -> MemoryDisk {
    let keys: Vec<_> = log.messages().map(|message| message.key).collect();
    for key in keys {
        if let Some(Ok(message)) = log.read(key) {
            assert_eq!(message.key, key);
        }
    }
    log.session_changes().expect("the disk reads");
    let accepted = SessionChange::Accepted {
        key: u64::MAX - 1,
        publish: Publish {
            topic: TopicName::new("t").expect("a topic"),
            payload: Bytes::from_static(b"behind"),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
        },
        expires_in: None,
        keep_latest: true,
    };
    log.append(1, &[StoreChange::Session(accepted)])
        .expect("the disk writes");
    log.sync().expect("the disk syncs");
    let message = log.read(u64::MAX - 1).expect("it is there");
    assert_eq!(message.expect("it is read").publish.payload, "behind");
    log.tidy_now().expect("the disk writes");
    log.seal().expect("the disk writes");
    log.into_disk()
}

/// Files whose frames are right more often than by chance.
fn files(source: &mut Source<'_>) -> MemoryDisk {
    let mut files = BTreeMap::new();
    let mut number = 0;
    for segment in 1..=1 + source.below(3) as u32 {
        let mut bytes = Vec::new();
        for _ in 0..source.below(5) {
            number += 1 + u64::from(source.below(8) == 0);
            let synced = number - source.below(3).min(number as usize) as u64;
            let body = source.bytes();
            match source.below(4) {
                0 => bytes.extend(body),
                _ => bytes.extend(frame(segment, number, synced, body)),
            }
        }
        files.insert(segment, bytes);
    }
    MemoryDisk(files)
}

fn frame(segment: u32, number: u64, synced: u64, body: &[u8]) -> Vec<u8> {
    let mut head = b"fmq1".to_vec();
    head.extend((body.len() as u32).to_le_bytes());
    let mut covered = number.to_le_bytes().to_vec();
    covered.extend(synced.to_le_bytes());
    covered.extend(body);
    let checksum = crc32c::crc32c(&segment.to_le_bytes());
    let checksum = crc32c::crc32c_append(checksum, &head);
    let checksum = crc32c::crc32c_append(checksum, &covered);
    head.extend(checksum.to_le_bytes());
    head.extend(covered);
    head
}

/// A disk that never fails.
struct MemoryDisk(BTreeMap<u32, Vec<u8>>);

impl MemoryDisk {
    fn file(&mut self, segment: u32) -> io::Result<&mut Vec<u8>> {
        Ok(self.0.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?)
    }
}

impl Disk for MemoryDisk {
    fn segments(&mut self) -> io::Result<Vec<SegmentFile>> {
        let file = |(&number, bytes): (&u32, &Vec<u8>)| SegmentFile {
            number,
            length: bytes.len() as u64,
        };
        Ok(self.0.iter().map(file).collect())
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        assert!(self.0.insert(segment, Vec::new()).is_none(), "made twice");
        Ok(())
    }

    fn append(&mut self, segment: u32, bytes: &[u8]) -> io::Result<()> {
        self.file(segment)?.extend(bytes);
        Ok(())
    }

    fn truncate(&mut self, segment: u32, length: u64) -> io::Result<()> {
        self.file(segment)?.truncate(length as usize);
        Ok(())
    }

    fn sync(&mut self, segment: u32) -> io::Result<()> {
        self.file(segment).map(drop)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        self.0.remove(&segment);
        Ok(())
    }

    fn read(&mut self, segment: u32, offset: u64, length: usize) -> io::Result<Bytes> {
        let bytes = self.file(segment)?;
        let start = (offset as usize).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(Bytes::copy_from_slice(&bytes[start..end]))
    }

    fn keep_damaged(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }
}
