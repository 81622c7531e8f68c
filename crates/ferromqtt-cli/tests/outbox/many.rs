//! Many messages: they are gone through with little memory.

use std::fmt::Write;
use std::process::Command;

use ferromqtt_store::StoreChange;

use crate::folder::{Folder, Ran, accepted, publish};

const MESSAGES: u64 = 100_000;

/// All of them are more than the memory that a command may have.
const PAYLOAD: usize = 400;

/// For the data of a process: what it allocates, and not its program and libraries.
const MOST_KIB: u32 = 32 << 10;

fn many() -> Folder {
    let folder = Folder::new();
    let mut store = folder.open();
    let payload = "x".repeat(PAYLOAD);
    let keys: Vec<u64> = (1..=MESSAGES).collect();
    for keys in keys.chunks(1_000) {
        let topic = |key: u64| format!("site/{}/level", key % 10);
        let accept = |key: &u64| accepted(*key, publish(&topic(*key), &payload));
        let changes: Vec<StoreChange> = keys.iter().map(accept).collect();
        store.record(&changes).unwrap();
    }
    store.close().unwrap();
    folder
}

/// Runs a command that fails where it needs more memory.
#[cfg(unix)]
fn run_within(arguments: &[&str], stdout: Option<&Folder>) -> Ran {
    let mut script = format!("ulimit -d {MOST_KIB}; exec \"$0\" \"$@\"");
    if let Some(file) = stdout {
        let _ = write!(script, " > '{}'", file.text());
    }
    let output = Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_ferromqtt"), "outbox"])
        .args(arguments)
        .output()
        .unwrap();
    Ran::of(output)
}

#[cfg(unix)]
#[test]
fn a_hundred_thousand_messages_take_little_memory() {
    let folder = many();
    let path = folder.text();
    let within = |arguments: &[&str]| {
        let ran = run_within(arguments, None);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{arguments:?}");
        ran
    };
    assert_eq!(within(&["ls", path]).lines().len() as u64, MESSAGES + 1);
    let stat = &within(&["stat", path, "--json"]).json()[0];
    assert_eq!(stat["messages"], MESSAGES);
    assert!(
        within(&["check", path])
            .stdout
            .starts_with("no damage: 100000 messages")
    );
    let exported = Folder::new();
    let ran = run_within(&["export", path, "--payload"], Some(&exported));
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let length = exported.path().metadata().unwrap().len();
    assert!(length > MESSAGES * PAYLOAD as u64, "{length}");
    let dropped = within(&["drop", path, "-t", "site/3/#"]);
    assert!(
        dropped
            .stdout
            .starts_with("dropped 10000 messages: 3, 13, "),
        "{}",
        &dropped.stdout[..40]
    );
    let dropped = within(&["drop", path, "--older-than", "0s"]);
    assert!(
        dropped
            .stdout
            .starts_with("dropped 90000 messages: 1-2, 4-12, ")
    );
    assert_eq!(within(&["ls", path]).lines().len(), 1);
    let imported = within(&["import", path, exported.text()]);
    assert_eq!(
        imported.stdout,
        "imported 100000 messages: keys 100001 to 200000\n"
    );
    std::fs::remove_file(exported.path()).unwrap();
    assert_eq!(
        within(&["stat", path, "--json"]).json()[0]["messages"],
        MESSAGES
    );
}
