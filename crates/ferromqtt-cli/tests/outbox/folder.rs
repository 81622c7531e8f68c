//! Outboxes for tests, and the command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt_proto::{Publish, QoS, SessionChange};
use ferromqtt_store::{
    LogStore, OpenedStore, Store, StoreChange, StoreCommand, StoreEntry, StoreEvent, StoreOptions,
};

/// Long enough for the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A folder that is removed in the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ferromqtt-outbox-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    pub(crate) fn open(&self) -> OpenedStore {
        LogStore::open(&self.0, StoreOptions::new()).expect("it opens")
    }

    /// An outbox with these changes, each in a frame of its own, that nobody has open.
    pub(crate) fn with(changes: &[StoreChange]) -> Self {
        let folder = Self::new();
        let mut store = folder.open();
        for change in changes {
            store.record(std::slice::from_ref(change)).unwrap();
        }
        store.close().unwrap();
        folder
    }

    /// Runs a subcommand on the outbox.
    pub(crate) fn run(&self, subcommand: &str, arguments: &[&str]) -> Ran {
        let all = [&["outbox", subcommand, self.text()], arguments].concat();
        run(&all)
    }

    /// What `ls -F` says, by lines.
    pub(crate) fn ls(&self, format: &str) -> Vec<String> {
        let ran = self.run("ls", &["-F", format]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        ran.lines()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.stdout.lines().map(str::to_owned).collect()
    }

    /// Each line of standard output as JSON.
    pub(crate) fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferromqtt"));
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    Ran::of(command(arguments).output().unwrap())
}

/// Runs with this standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    drop(stdin);
    Ran::of(child.wait_with_output().unwrap())
}

pub(crate) fn publish(topic: &str, payload: &str) -> Publish {
    let mut publish = Publish::new(topic.parse().unwrap(), payload.to_owned());
    publish.qos = QoS::AtLeastOnce;
    publish
}

pub(crate) fn accepted(key: u64, publish: Publish) -> StoreChange {
    accepted_for(key, publish, None)
}

pub(crate) fn accepted_for(key: u64, publish: Publish, limit: Option<Duration>) -> StoreChange {
    StoreChange::Session(SessionChange::Accepted {
        key,
        publish,
        expires_in: limit,
        keep_latest: false,
    })
}

pub(crate) fn sending(key: u64) -> StoreChange {
    let packet_id = ferromqtt_proto::PacketId::new(u16::try_from(key).unwrap()).unwrap();
    StoreChange::Session(SessionChange::Sending { key, packet_id })
}

/// A program that has an outbox open.
pub(crate) struct Owner {
    store: LogStore,
    woken: Receiver<()>,
}

impl Owner {
    pub(crate) fn start(folder: &Folder) -> Self {
        let (wake, woken) = channel();
        let wake = Mutex::new(wake);
        let waker = Arc::new(move || {
            let _ = wake.lock().unwrap().send(());
        });
        let store = folder.open().start(Some(waker)).expect("it starts");
        Self { store, woken }
    }

    /// Submits changes, and waits until they are on record.
    pub(crate) fn record(&self, changes: impl IntoIterator<Item = StoreChange>) {
        let mut ticket = 0;
        for change in changes {
            let mut entry = StoreEntry { change, mark: None };
            ticket = loop {
                match self.store.submit(entry) {
                    Ok(ticket) => break ticket,
                    Err((refused, _)) => entry = *refused,
                }
                self.woken.recv_timeout(LIMIT).unwrap();
            };
        }
        while self.store.marks().on_record < ticket {
            self.woken.recv_timeout(LIMIT).unwrap();
        }
    }

    /// Waits for so many commands.
    pub(crate) fn commands(&self, count: usize) -> Vec<StoreCommand> {
        let mut commands = Vec::new();
        loop {
            for event in self.store.take_events() {
                match event {
                    StoreEvent::Command(command) => commands.push(command),
                    other => panic!("{other:?}"),
                }
            }
            if commands.len() >= count {
                return commands;
            }
            self.woken.recv_timeout(LIMIT).unwrap();
        }
    }

    pub(crate) fn close(self) {
        self.store.close_and_wait();
    }
}
