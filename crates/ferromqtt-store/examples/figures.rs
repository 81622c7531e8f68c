//! Prints what the store costs on this machine: `cargo run --release -p ferromqtt-store --example figures [FOLDER]`. Linux alone.
//!
//! Messages are accepted with 4,000 of them not on record at most, and each ends when it is 100 behind the last one on record.
//! Beside it a raw row: the same bytes in as many writes, each with `fdatasync`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it prints what it measured, and ends when something is wrong"
)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::{Publish, QoS, SessionChange, TopicName};
use ferromqtt_store::{
    EndedHow, LogStore, Store, StoreChange, StoreEntry, StoreOptions, StoreSync,
};

const MESSAGES: u64 = 200_000;
const AHEAD: u64 = 4_000;
const BEHIND: u64 = 100;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    if let (Some(folder), Some(_)) = (&folder, arguments.next()) {
        return memory_of_opened(folder);
    }
    let folder = folder.unwrap_or_else(std::env::temp_dir);
    let folder = folder.join(format!("ferromqtt-store-figures-{}", std::process::id()));
    for size in [64, 1_024] {
        println!("payload {size} B");
        throughput(&folder, size);
        opening(&folder, size);
    }
    memory(&folder);
}

struct Program {
    store: LogStore,
    woken: Receiver<()>,
    topic: TopicName,
    payload: Bytes,
}

impl Program {
    fn new(folder: &Path, size: usize, sync: StoreSync) -> Self {
        let opened = LogStore::open(folder, StoreOptions::new().sync(sync)).unwrap();
        let (wake, woken) = channel();
        let wake = std::sync::Mutex::new(wake);
        let waker = Arc::new(move || {
            let _ = wake.lock().unwrap().send(());
        });
        Self {
            store: opened.start(Some(waker)).unwrap(),
            woken,
            topic: TopicName::new("site/7/level").unwrap(),
            payload: vec![b'x'; size].into(),
        }
    }

    fn submit(&self, change: StoreChange) -> u64 {
        let mut entry = StoreEntry { change, mark: None };
        loop {
            match self.store.submit(entry) {
                Ok(ticket) => return ticket,
                Err((refused, _)) => entry = *refused,
            }
            self.woken.recv().unwrap();
        }
    }

    fn accept(&self, key: u64) -> u64 {
        self.submit(StoreChange::Session(SessionChange::Accepted {
            key,
            publish: Publish {
                topic: self.topic.clone(),
                payload: self.payload.clone(),
                qos: QoS::AtLeastOnce,
                retain: false,
                properties: None,
            },
            expires_in: None,
            keep_latest: false,
        }))
    }

    fn wait(&self, ticket: u64) {
        while self.store.marks().on_record < ticket {
            self.woken.recv().unwrap();
        }
    }

    fn fill(&self, messages: u64) {
        let mut ticket = 0;
        for key in 1..=messages {
            ticket = self.accept(key);
        }
        self.wait(ticket);
    }
}

/// The CPU time of all threads so far.
fn cpu() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let of_task = |task: PathBuf| {
        let text = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
        let nanos = text.split(' ').next().and_then(|it| it.parse().ok());
        nanos.unwrap_or(0)
    };
    Duration::from_nanos(tasks.map(|task| of_task(task.unwrap().path())).sum())
}

/// A line of a file of /proc, in the unit it has there.
fn figure(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.unwrap().trim().split(' ').next();
    number.unwrap().parse().unwrap()
}

fn throughput(folder: &Path, size: usize) {
    let program = Program::new(folder, size, StoreSync::Always);
    let (start, cpu_start) = (Instant::now(), cpu());
    let bytes_start = figure("/proc/self/io", "wchar:");
    // By key: the ticket of its acceptance.
    let mut tickets = vec![0; MESSAGES as usize + 1];
    let (mut stored, mut ended, mut writes, mut mark) = (0, 0, 0_u64, 0);
    let mut last = 0;
    let mut key = 0;
    while ended < MESSAGES {
        while key < MESSAGES && key - stored < AHEAD {
            key += 1;
            tickets[key as usize] = program.accept(key);
            last = last.max(tickets[key as usize]);
        }
        let marks = program.store.marks();
        writes += u64::from(marks.on_record > mark);
        mark = marks.on_record;
        while stored < key && tickets[stored as usize + 1] <= mark {
            stored += 1;
        }
        let until = if stored == MESSAGES {
            stored
        } else {
            stored.saturating_sub(BEHIND)
        };
        if ended == until && key - stored >= AHEAD.min(MESSAGES - stored) {
            program.woken.recv().unwrap();
        }
        while ended < until {
            ended += 1;
            let how = EndedHow::Acknowledged;
            last = program.submit(StoreChange::Ended { key: ended, how });
        }
    }
    program.wait(last);
    let (time, cpu) = (start.elapsed(), cpu() - cpu_start);
    let bytes = figure("/proc/self/io", "wchar:") - bytes_start;
    program.store.close_and_wait();
    fs::remove_dir_all(folder).unwrap();
    let (raw, p50) = raw(folder, bytes, writes);
    let rate = |time: Duration| MESSAGES as f64 / time.as_secs_f64();
    let payload = MESSAGES * size as u64;
    println!(
        "  {:.0} messages/s, {:.2} of raw; CPU {:.2} us a message, this program included; {:.2} bytes written a byte of payload; \
         {writes} writes; fdatasync p50 {:.2} ms",
        rate(time),
        raw.as_secs_f64() / time.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / MESSAGES as f64,
        bytes as f64 / payload as f64,
        p50.as_secs_f64() * 1e3,
    );
}

/// As many bytes in as many writes, with files of 4 MiB.
fn raw(folder: &Path, bytes: u64, writes: u64) -> (Duration, Duration) {
    fs::create_dir_all(folder).unwrap();
    let part = vec![b'x'; (bytes / writes) as usize];
    let mut syncs = Vec::new();
    let start = Instant::now();
    let (mut file, mut length) = (None, 0);
    for number in 0..writes {
        let file = file.get_or_insert_with(|| {
            let file = File::create(folder.join(format!("{number}.raw"))).unwrap();
            File::open(folder).unwrap().sync_all().unwrap();
            file
        });
        file.write_all(&part).unwrap();
        let sync = Instant::now();
        file.sync_data().unwrap();
        syncs.push(sync.elapsed());
        length += part.len();
        if length > 4 << 20 {
            length = 0;
            *file = File::create(folder.join(format!("{number}.raw"))).unwrap();
            File::open(folder).unwrap().sync_all().unwrap();
        }
    }
    let time = start.elapsed();
    fs::remove_dir_all(folder).unwrap();
    syncs.sort_unstable();
    (time, syncs[syncs.len() / 2])
}

fn opening(folder: &Path, size: usize) {
    let program = Program::new(folder, size, StoreSync::Never);
    program.fill(100_000);
    // What a killed process leaves.
    let killed = folder.with_extension("killed");
    fs::create_dir_all(&killed).unwrap();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), killed.join(file.file_name())).unwrap();
    }
    program.store.close_and_wait();
    for (name, folder) in [("closed", folder), ("killed", &killed)] {
        let mut times = Vec::new();
        for _ in 0..5 {
            let start = Instant::now();
            let opened = LogStore::open(folder, StoreOptions::new()).unwrap();
            times.push(start.elapsed());
            assert_eq!(opened.messages().count(), 100_000);
        }
        println!("  100,000 pending, {name}: opened in {times:.1?}");
        fs::remove_dir_all(folder).unwrap();
    }
}

fn memory(folder: &Path) {
    let program = Program::new(folder, 64, StoreSync::Never);
    program.fill(1_000_000);
    program.store.close_and_wait();
    // In a process of its own, whose memory was not used before.
    let program = std::env::current_exe().unwrap();
    let mut opened = Command::new(program);
    assert!(opened.arg(folder).arg("memory").status().unwrap().success());
    fs::remove_dir_all(folder).unwrap();
}

fn memory_of_opened(folder: &Path) {
    let before = figure("/proc/self/status", "VmRSS:");
    let opened = LogStore::open(folder, StoreOptions::new()).unwrap();
    assert_eq!(opened.messages().count(), 1_000_000);
    let after = figure("/proc/self/status", "VmRSS:");
    let most = figure("/proc/self/status", "VmHWM:");
    let mib = |kib: u64| kib.saturating_sub(before) / 1_024;
    println!(
        "1,000,000 pending: {} MiB of memory, {} MiB while it was opened",
        mib(after),
        mib(most)
    );
}
