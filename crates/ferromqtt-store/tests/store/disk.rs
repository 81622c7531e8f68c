//! A disk in memory that keeps what a disk keeps: what was synced, and of the rest whatever it likes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use ferromqtt_store::{Disk, SegmentFile};

/// A disk writes this many bytes at once, or none of them.
const SECTOR: usize = 512;

/// A sequence of numbers that looks random.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
enum Pending {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

#[derive(Clone, Debug, Default)]
struct SimFile {
    /// What a process reads.
    now: Vec<u8>,
    /// What was synced.
    durable: Vec<u8>,
    /// What came since.
    pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug)]
enum FolderChange {
    Made(u32, usize),
    Removed(u32),
}

/// What is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Write,
    Sync,
    Folder,
    Create,
    Cut,
}

#[derive(Clone, Debug, Default)]
struct SimState {
    files: Vec<SimFile>,
    folder: BTreeMap<u32, usize>,
    durable_folder: BTreeMap<u32, usize>,
    folder_changes: Vec<FolderChange>,
    /// Operations that change something, so far.
    operations: u64,
    crash_at: Option<u64>,
    faults: Vec<Fault>,
    /// The most bytes of all files.
    capacity: Option<usize>,
    kept_damaged: Vec<u32>,
    /// Since the process has begun.
    has_failed: bool,
}

/// A disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct SimDisk(Rc<RefCell<SimState>>);

/// What of the changes since the last sync a power cut leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    None,
    First(usize),
    Some,
    All,
}

impl Leaves {
    fn draw(random: &mut Random, count: usize) -> Self {
        match random.below(4) {
            0 => Self::None,
            1 => Self::First(random.below(count as u64 + 1) as usize),
            2 => Self::Some,
            _ => Self::All,
        }
    }

    fn leaves(self, random: &mut Random, index: usize) -> bool {
        match self {
            Self::None => false,
            Self::First(count) => index < count,
            Self::Some => random.one_in(2),
            Self::All => true,
        }
    }
}

impl SimFile {
    fn after_power_cut(&self, random: &mut Random) -> Vec<u8> {
        let leaves = Leaves::draw(random, self.pending.len());
        let mut bytes = self.durable.clone();
        for (index, pending) in self.pending.iter().enumerate() {
            match pending {
                Pending::Cut(length) if leaves.leaves(random, index) => {
                    bytes.truncate(*length);
                }
                Pending::Cut(_) => {}
                Pending::Write { at, bytes: written } => {
                    if !leaves.leaves(random, index) {
                        continue;
                    }
                    let torn = random.one_in(3);
                    for (part, sector) in written.chunks(SECTOR).enumerate() {
                        if torn && random.one_in(2) {
                            continue;
                        }
                        let start = at + part * SECTOR;
                        if bytes.len() < start + sector.len() {
                            bytes.resize(start + sector.len(), 0);
                        }
                        bytes[start..start + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
        bytes
    }
}

impl SimDisk {
    pub(crate) fn operations(&self) -> u64 {
        self.0.borrow().operations
    }

    /// Whether an operation was refused, by plan or since the process has ended.
    pub(crate) fn fails(&self) -> bool {
        self.0.borrow().has_failed
    }

    /// Whether the process has ended, or is about to.
    pub(crate) fn fails_from_now_on(&self) -> bool {
        self.0.borrow().crash_at.is_some()
    }

    /// Another disk with the same on it.
    pub(crate) fn copy(&self) -> Self {
        Self(Rc::new(RefCell::new(self.0.borrow().clone())))
    }

    /// The operation that is the last one, and done by half.
    pub(crate) fn crash_at(&self, operation: u64) {
        self.0.borrow_mut().crash_at = Some(operation);
    }

    /// The next operation of this kind fails.
    pub(crate) fn fail_next(&self, fault: Fault) {
        self.0.borrow_mut().faults.push(fault);
    }

    pub(crate) fn set_capacity(&self, capacity: Option<usize>) {
        self.0.borrow_mut().capacity = capacity;
    }

    pub(crate) fn length(&self) -> usize {
        let state = self.0.borrow();
        state
            .folder
            .values()
            .map(|it| state.files[*it].now.len())
            .sum()
    }

    pub(crate) fn kept_damaged(&self) -> Vec<u32> {
        self.0.borrow().kept_damaged.clone()
    }

    pub(crate) fn numbers(&self) -> Vec<u32> {
        self.0.borrow().folder.keys().copied().collect()
    }

    /// The process has ended. Nothing that it wrote is lost.
    pub(crate) fn end_process(&self) {
        let mut state = self.0.borrow_mut();
        state.crash_at = None;
        state.has_failed = false;
        state.faults.clear();
        state.capacity = None;
    }

    pub(crate) fn cut_power(&self, random: &mut Random) {
        self.end_process();
        let mut state = self.0.borrow_mut();
        let mut folder = state.durable_folder.clone();
        let leaves = Leaves::draw(random, state.folder_changes.len());
        for (index, change) in state.folder_changes.iter().enumerate() {
            if leaves.leaves(random, index) {
                match *change {
                    FolderChange::Made(number, file) => drop(folder.insert(number, file)),
                    FolderChange::Removed(number) => drop(folder.remove(&number)),
                }
            }
        }
        let mut files = Vec::new();
        let mut new_folder = BTreeMap::new();
        for (number, file) in folder {
            let bytes = state.files[file].after_power_cut(random);
            new_folder.insert(number, files.len());
            files.push(SimFile {
                now: bytes.clone(),
                durable: bytes,
                pending: Vec::new(),
            });
        }
        state.files = files;
        state.folder = new_folder.clone();
        state.durable_folder = new_folder;
        state.folder_changes.clear();
    }

    /// All bytes of a segment.
    pub(crate) fn bytes(&self, segment: u32) -> Vec<u8> {
        let state = self.0.borrow();
        let file = state.folder[&segment];
        state.files[file].now.clone()
    }

    /// Replaces what is on the disk.
    pub(crate) fn set_bytes(&self, segment: u32, bytes: Vec<u8>) {
        let mut state = self.0.borrow_mut();
        let next = state.files.len();
        let file = *state.folder.entry(segment).or_insert(next);
        state.durable_folder.insert(segment, file);
        let new = SimFile {
            durable: bytes.clone(),
            now: bytes,
            pending: Vec::new(),
        };
        match state.files.get_mut(file) {
            Some(file) => *file = new,
            None => state.files.push(new),
        }
    }

    pub(crate) fn lose_file(&self, segment: u32) {
        let mut state = self.0.borrow_mut();
        state.folder.remove(&segment);
        state.durable_folder.remove(&segment);
    }
}

impl SimState {
    fn has_ended(&self) -> bool {
        self.crash_at.is_some_and(|at| self.operations >= at)
    }

    /// Counts an operation. `Ok(true)` when it is the last one.
    fn begin(&mut self, fault: Fault) -> io::Result<bool> {
        if self.has_ended() {
            self.has_failed = true;
            return Err(io::Error::other("the process has ended"));
        }
        self.operations += 1;
        if let Some(at) = self.faults.iter().position(|it| *it == fault) {
            self.faults.remove(at);
            self.has_failed = true;
            return Err(io::Error::other(format!("planted: {fault:?}")));
        }
        let is_last = self.crash_at == Some(self.operations);
        self.has_failed |= is_last;
        Ok(is_last)
    }

    fn file(&mut self, segment: u32) -> io::Result<&mut SimFile> {
        let file = self.folder.get(&segment).ok_or(io::ErrorKind::NotFound)?;
        Ok(&mut self.files[*file])
    }
}

fn ended() -> io::Error {
    io::Error::other("the process has ended meanwhile")
}

impl Disk for SimDisk {
    fn segments(&mut self) -> io::Result<Vec<SegmentFile>> {
        let state = self.0.borrow();
        let file = |(&number, &file): (&u32, &usize)| SegmentFile {
            number,
            length: state.files[file].now.len() as u64,
        };
        Ok(state.folder.iter().map(file).collect())
    }

    fn create(&mut self, segment: u32) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let last = state.begin(Fault::Create)?;
        if state.folder.contains_key(&segment) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(SimFile::default());
        state.folder.insert(segment, file);
        state.folder_changes.push(FolderChange::Made(segment, file));
        if last { Err(ended()) } else { Ok(()) }
    }

    fn append(&mut self, segment: u32, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let had_ended = state.has_ended();
        let whole = state.begin(Fault::Write);
        let used: usize = state
            .folder
            .values()
            .map(|it| state.files[*it].now.len())
            .sum();
        let capacity = state.capacity.map(|it| it.saturating_sub(used));
        let room = match &whole {
            // What fails leaves something behind.
            Err(_) if had_ended => 0,
            Err(_) | Ok(true) => bytes.len() / 2,
            Ok(false) => bytes.len(),
        };
        let written = room.min(capacity.unwrap_or(usize::MAX));
        let file = state.file(segment)?;
        let at = file.now.len();
        file.now.extend_from_slice(&bytes[..written]);
        file.pending.push(Pending::Write {
            at,
            bytes: bytes[..written].to_vec(),
        });
        if whole? {
            return Err(ended());
        }
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn truncate(&mut self, segment: u32, length: u64) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let last = state.begin(Fault::Cut)?;
        let file = state.file(segment)?;
        let length = usize::try_from(length).unwrap();
        file.now.truncate(length);
        file.pending.push(Pending::Cut(length));
        if last { Err(ended()) } else { Ok(()) }
    }

    fn sync(&mut self, segment: u32) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let had_ended = state.has_ended();
        match state.begin(Fault::Sync) {
            Ok(false) => {}
            Ok(true) => return Err(ended()),
            Err(error) if had_ended => return Err(error),
            Err(error) => {
                // The pages count as written from now on. What of them was is the disk's secret: the process reads them all,
                // and the next sync has nothing to do.
                let half = Random::new(state.operations).below(4);
                let file = state.file(segment)?;
                let pending = std::mem::take(&mut file.pending);
                let keep = SimFile {
                    now: Vec::new(),
                    durable: std::mem::take(&mut file.durable),
                    pending,
                };
                file.durable = keep.after_power_cut(&mut Random::new(half + 7));
                return Err(error);
            }
        }
        let file = state.file(segment)?;
        for pending in std::mem::take(&mut file.pending) {
            match pending {
                Pending::Cut(length) => file.durable.truncate(length),
                Pending::Write { at, bytes } => {
                    if file.durable.len() < at + bytes.len() {
                        file.durable.resize(at + bytes.len(), 0);
                    }
                    file.durable[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
        }
        Ok(())
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.begin(Fault::Folder)? {
            return Err(ended());
        }
        state.durable_folder = state.folder.clone();
        state.folder_changes.clear();
        Ok(())
    }

    fn remove(&mut self, segment: u32) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let last = state.begin(Fault::Folder)?;
        if state.folder.remove(&segment).is_some() {
            state.folder_changes.push(FolderChange::Removed(segment));
        }
        if last { Err(ended()) } else { Ok(()) }
    }

    fn read(&mut self, segment: u32, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut state = self.0.borrow_mut();
        let file = state.file(segment)?;
        let start = usize::try_from(offset).unwrap().min(file.now.len());
        let end = start.saturating_add(length).min(file.now.len());
        Ok(Bytes::copy_from_slice(&file.now[start..end]))
    }

    fn keep_damaged(&mut self, segment: u32) -> io::Result<()> {
        self.0.borrow_mut().kept_damaged.push(segment);
        Ok(())
    }
}
