//! `send`, to a broker that is there.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use ferromqtt_store::{QuarantineReason, StoreChange};

use crate::folder::{Folder, accepted, command, publish};

/// `ferromqtt broker` on a port of its own.
struct Broker {
    process: Child,
    url: String,
}

impl Broker {
    fn start() -> Self {
        let mut process = command(&["broker", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        lines.read_line(&mut url).unwrap();
        let url = url.trim().to_owned();
        assert!(url.starts_with("mqtt://"), "it does not start: {url}");
        Self { process, url }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn send_sends_what_waits_and_leaves_the_quarantine_alone() {
    let broker = Broker::start();
    let folder = Folder::with(&[
        accepted(1, publish("a", "one")),
        accepted(2, publish("a", "two")),
        accepted(3, publish("a", "three")),
        StoreChange::Quarantined {
            key: 3,
            why: QuarantineReason::Refused(0x87),
        },
    ]);
    for expected in ["2 messages ended, 0 left\n", "0 messages ended, 0 left\n"] {
        let ran = folder.run("send", &[&broker.url]);
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (0, expected, "")
        );
    }
    assert_eq!(folder.ls("%k %s"), ["3 quarantined"]);
}

#[test]
fn send_says_what_keeps_it_from_sending() {
    let folder = Folder::with(&[accepted(1, publish("a", "one"))]);
    let ran = folder.run("send", &["mqtt://127.0.0.1:1"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr
            .starts_with("ferromqtt: cannot connect: mqtt://127.0.0.1:1: "),
        "{}",
        ran.stderr
    );
    let ran = folder.run("send", &["ftp://host"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(
        ran.stderr.ends_with("; give the URL of a server\n"),
        "{}",
        ran.stderr
    );
    let nothing = Folder::new();
    let ran = nothing.run("send", &["mqtt://127.0.0.1:1"]);
    assert!(
        ran.stderr.contains("there is no outbox at"),
        "{}",
        ran.stderr
    );
}
