//! Every text of the command in docs/errors.md is provoked, and reads as the page says.

#![cfg(target_os = "linux")] // it has a device that is always full

#[path = "../../ferromqtt/tests/error_texts/page.rs"]
mod page;

use std::fs::File;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use page::{Provoked, compare};

/// What the command writes before its first empty line, in one line, and how it ends.
fn failure(arguments: &[&str], stdout: Stdio) -> Provoked {
    let output = Command::new(env!("CARGO_BIN_EXE_ferromqtt"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines = text.lines().take_while(|line| !line.is_empty());
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let end = match output.status.code() {
        Some(1) => "exit code 1",
        Some(2) => "exit code 2",
        other => panic!("{other:?}: {text}"),
    };
    (text, end)
}

#[test]
fn every_text_of_the_command_is_provoked_and_reads_as_the_page_says() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let long = "a".repeat(65_536);
    let broker: [&[&str]; 16] = [
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
    ];
    let mut provoked = vec![failure(&["brokr"], Stdio::null())];
    for arguments in broker {
        let arguments = [&["broker"], arguments].concat();
        provoked.push(failure(&arguments, Stdio::null()));
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    provoked.push(failure(&["broker"], full.into()));
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
