//! A real process that is killed at random moments.
//!
//! The test runs its own program again as a child, which stores messages and says on its standard output what is on record.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use bytes::Bytes;
use ferromqtt_proto::Publish;
use ferromqtt_store::{EndedHow, Store, StoreChange};

use crate::disk::Random;
use crate::folder::{Folder, Program};
use crate::world::publish;

const CHILD: &str = "FERROMQTT_STORE_CHILD";

/// How many kills; `FERROMQTT_KILLS=100` for more.
fn kills() -> u64 {
    let kills = std::env::var("FERROMQTT_KILLS").ok();
    kills.and_then(|it| it.parse().ok()).unwrap_or(10)
}

fn message(key: u64) -> Publish {
    Publish {
        payload: Bytes::from(format!("{key} ").repeat(1 + key as usize % 300)),
        ..publish(key)
    }
}

/// Messages `from` on: each is accepted, and ends 100 later.
fn store_messages(folder: &str, seed: u64) {
    let opened = ferromqtt_store::LogStore::open(folder, ferromqtt_store::StoreOptions::new());
    let opened = opened.expect("it opens");
    let pending: Vec<_> = opened.messages().map(|message| message.key).collect();
    let mut key = opened.next_key();
    let mut random = Random::new(seed);
    let mut program = Program::start(opened);
    let mut out = std::io::stdout().lock();
    for key in pending {
        program.submit(ended(key));
        writeln!(out, "ending {key}").unwrap();
    }
    loop {
        let count = 1 + random.below(200);
        let mut ticket = 0;
        for key in key..key + count {
            ticket = program.accept(key, message(key));
            if let Some(old) = key.checked_sub(100).filter(|old| *old > 0) {
                writeln!(out, "ending {old}").unwrap();
                out.flush().unwrap();
                ticket = program.submit(ended(old));
            }
        }
        key += count;
        program.wait_for_record(ticket);
        writeln!(out, "stored {}", key - 1).unwrap();
        out.flush().unwrap();
    }
}

fn ended(key: u64) -> StoreChange {
    StoreChange::Ended {
        key,
        how: EndedHow::Acknowledged,
    }
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn child_of_the_test_that_kills() {
    if let Ok(folder) = std::env::var(CHILD) {
        let (seed, folder) = folder.split_once(':').unwrap();
        store_messages(folder, seed.parse().unwrap());
    }
}

#[test]
fn a_killed_process_loses_nothing_that_was_on_record() {
    let folder = Folder::new();
    let path = folder.path().to_str().unwrap();
    let mut random = Random::new(4_711);
    // Accepted and on record; whose end was submitted; whose end is on record.
    let mut stored = 0;
    let mut ending = BTreeSet::new();
    let mut ended = BTreeSet::new();
    let mut total = 0;
    for round in 0..kills() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kill::child_of_the_test_that_kills",
                "--nocapture",
            ])
            .env(CHILD, format!("{round}:{path}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + random.below(1_000);
        let mut note = |line: &str| {
            if let Some(key) = line.strip_prefix("ending ") {
                ending.insert(key.parse::<u64>().unwrap());
            } else if let Some(key) = line.strip_prefix("stored ") {
                stored = key.parse::<u64>().unwrap();
                ended.append(&mut ending.clone());
                return true;
            }
            false
        };
        let mut batches = 0;
        for line in lines.by_ref() {
            batches += u64::from(note(&line.unwrap()));
            left = left.saturating_sub(1);
            if left == 0 && batches > 0 {
                break;
            }
        }
        child.kill().unwrap(); // SIGKILL
        for line in lines {
            note(&line.unwrap());
        }
        child.wait().unwrap();
        total += batches;
        let mut opened = folder.open();
        let found: BTreeSet<_> = opened.messages().map(|message| message.key).collect();
        for key in 1..=stored {
            if !ending.contains(&key) {
                assert!(found.contains(&key), "{key} is lost (round {round})");
            }
        }
        let back: Vec<_> = found.intersection(&ended).collect();
        assert!(back.is_empty(), "{back:?} came back (round {round})");
        for &key in &found {
            assert_eq!(opened.read(key).unwrap().unwrap().publish, message(key));
        }
        let last = found.last().copied().unwrap_or(0);
        let holes: Vec<_> = (1..last)
            .filter(|key| !found.contains(key) && !ending.contains(key))
            .collect();
        assert!(holes.is_empty(), "{holes:?} are missing (round {round})");
        let store = opened.start(None).unwrap();
        assert_eq!(store.take_events(), [], "a kill is no damage");
        store.close_and_wait();
        stored = stored.max(last);
    }
    assert!(total >= kills(), "{total} batches");
}
