//! Every text of the command in docs/errors.md is provoked, and reads as the page says.

#![cfg(target_os = "linux")] // it has a device that is always full

#[path = "../../ferromqtt/tests/error_texts/page.rs"]
mod page;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};

use page::{Provoked, compare};

/// Runs the command.
fn start(arguments: &[&str], stdout: Stdio) -> Child {
    Command::new(env!("CARGO_BIN_EXE_ferromqtt"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the command writes before its first empty line, in one line, and how it ends.
fn failure(arguments: &[&str], stdout: Stdio) -> Provoked {
    let output = start(arguments, stdout).wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    (text, end(output.status))
}

/// What the command writes last, when it is stopped once it has printed a line, and how it ends.
fn failure_at_the_end(arguments: &[&str]) -> Provoked {
    let mut child = start(arguments, Stdio::piped());
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let kill = format!("kill -TERM {}", child.id());
    let killed = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let last = text.lines().last().unwrap_or_default();
    (last.to_owned(), end(output.status))
}

fn end(status: ExitStatus) -> &'static str {
    match status.code() {
        Some(1) => "exit code 1",
        Some(2) => "exit code 2",
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_text_of_the_command_is_provoked_and_reads_as_the_page_says() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let long = "a".repeat(65_536);
    let broker: [&[&str]; 18] = [
        &["--bogus"],
        &["--host", "nowhere"],
        &["--port", "70000"],
        &["--receive-maximum", "many"],
        &["--receive-maximum", "0"],
        &["--retain-available", "perhaps"],
        &["--maximum-qos", "3"],
        &["--handshake-timeout", "0"],
        &["--deny-connect", "0x05:a"],
        &["--server-reference", &long],
        &["--user", "a"],
        &["--deny-publish", "a#"],
        &["--deny-connect", "0x00:a"],
        &["--server-moved"],
        &["--port", &port],
        &["--faults", "/nowhere.toml"],
        &["--record-payloads"],
        &["--record", "/nowhere/session.mqttlog"],
    ];
    let mut provoked = vec![failure(&["brokr"], Stdio::null())];
    for arguments in broker {
        let arguments = [&["broker"], arguments].concat();
        provoked.push(failure(&arguments, Stdio::null()));
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    provoked.push(failure(&["broker"], full.into()));
    provoked.push(failure_at_the_end(&["broker", "--record", "/dev/full"]));
    provoked.push(failure(
        &["recording", "show", "/nowhere.mqttlog"],
        Stdio::null(),
    ));
    let name = format!("{}-texts.mqttlog", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let line = "{\"at\":0,\"link\":1,\"event\":\"opened\"}\n";
    std::fs::write(
        &path,
        format!("{{\"mqttlog\":1,\"payloads\":false}}\n{line}"),
    )
    .unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let show = ["recording", "show", path.to_str().unwrap()];
    provoked.push(failure(&show, full.into()));
    std::fs::remove_file(path).unwrap();
    compare("The command `ferromqtt`", provoked);
}
