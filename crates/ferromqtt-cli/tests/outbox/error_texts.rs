//! Every text of `ferromqtt outbox` in docs/errors.md is provoked, and reads as the page says.

#![cfg(target_os = "linux")] // it has a device that is always full

use std::fs::File;
use std::time::Duration;

use ferromqtt_store::{QuarantineReason, StoreChange};

use crate::folder::{
    Folder, Owner, Ran, accepted, accepted_for, command, publish, run_with_input, sending,
};
use crate::looking::{find, flip};
use crate::page::{Provoked, compare};

fn end(code: i32) -> &'static str {
    match code {
        0 => "exit code 0",
        1 => "exit code 1",
        2 => "exit code 2",
        other => panic!("{other}"),
    }
}

/// The line of standard error that has this, and how the command ended.
fn said(ran: &Ran, part: &str) -> Provoked {
    let lines = ran.stderr.split("\n\n").next().unwrap_or_default();
    let usage = lines.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let line = ran.stderr.lines().find(|line| line.contains(part));
    let line = line.unwrap_or_else(|| panic!("{part}: {ran:?}"));
    let text = if line.starts_with("error:") {
        usage
    } else {
        line.to_owned()
    };
    (text, end(ran.code))
}

fn quarantined(key: u64) -> StoreChange {
    let why = QuarantineReason::Uncertain;
    StoreChange::Quarantined { key, why }
}

#[test]
fn every_text_of_the_outbox_is_provoked_and_reads_as_the_page_says() {
    let nothing = Folder::new();
    let folder = Folder::with(&[
        accepted(1, publish("waits", "one")),
        accepted(2, publish("sent", "two")),
        sending(2),
        accepted(3, publish("damaged", "three")),
        quarantined(3),
        accepted_for(4, publish("expired", "four"), Some(Duration::ZERO)),
        quarantined(4),
    ]);
    let mut provoked = vec![
        said(&nothing.run("ls", &[]), "no outbox"),
        said(&folder.run("ls", &["-F", "%z"]), "is none"),
        said(&folder.run("ls", &["-t", "a#"]), "invalid value"),
        said(&folder.run("drop", &["--older-than", "1"]), "give a number"),
        said(
            &folder.run("drop", &["1", "--quarantined"]),
            "cannot be used",
        ),
        said(&folder.run("drop", &[]), "not provided"),
        said(&folder.run("retry", &[]), "not provided"),
    ];
    std::fs::write(nothing.path(), "a file").unwrap();
    provoked.push(said(&nothing.run("stat", &[]), "cannot read"));
    std::fs::remove_file(nothing.path()).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let printed = command(&["outbox", "ls", folder.text()])
        .stdout(full)
        .output();
    provoked.push(said(&Ran::of(printed.unwrap()), "cannot print"));
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "three"),
    );
    provoked.push(said(&folder.run("ls", &[]), "cannot be read"));
    let ran = folder.run("retry", &["1", "3", "4", "9"]);
    for part in [
        "may arrive twice",
        "not in quarantine",
        "cannot be read, and stays",
        "in time, and stays",
        "no message 9",
    ] {
        provoked.push(said(&ran, part));
    }
    provoked.push(said(&folder.run("drop", &["2"]), "on the wire, and stays"));
    provoked.push(said(&folder.run("drop", &["-t", "sent"]), "not dropped"));
    provoked.extend(imports(&folder, &nothing));
    provoked.extend(owners());
    compare("The command `ferromqtt outbox`", provoked);
}

fn imports(folder: &Folder, nothing: &Folder) -> Vec<Provoked> {
    let import =
        |lines: &str| run_with_input(&["outbox", "import", folder.text()], lines.as_bytes());
    let wrong = import("{}\n");
    let ran = import(
        "{\"topic\":\"a\",\"payload\":\"\",\"expires_at\":1}\n\
         {\"topic\":\"a\",\"payload\":\"\",\"state\":\"sent\"}\n",
    );
    vec![
        said(&wrong, "line 1"),
        said(&wrong, "cannot be imported"),
        said(&ran, "left out"),
        said(&ran, "had been sent before"),
        said(&folder.run("import", &[nothing.text()]), "cannot read"),
    ]
}

/// What is said of those who have an outbox, and of what they find.
fn owners() -> Vec<Provoked> {
    let folder = Folder::new();
    let mut opened = folder.open();
    for key in 1..=2 {
        opened
            .record(&[accepted(key, publish("t", "payload"))])
            .unwrap();
    }
    let late = said(&folder.run("drop", &["1"]), "has not looked");
    drop(opened);
    std::fs::remove_file(folder.path().join("commands")).unwrap();
    let owner = Owner::start(&folder);
    let in_use = run_with_input(
        &["outbox", "import", folder.text()],
        b"{\"topic\":\"a\",\"payload\":\"\"}\n",
    );
    let in_use = said(&in_use, "is in use");
    std::fs::create_dir(folder.path().join("commands")).unwrap();
    let unwritable = said(&folder.run("drop", &["1"]), "commands");
    owner.close();
    std::fs::remove_dir(folder.path().join("commands")).unwrap();
    let damaged = Folder::new();
    let mut opened = damaged.open();
    for key in 1..=2 {
        opened
            .record(&[accepted(key, publish("t", "payload"))])
            .unwrap();
    }
    drop(opened);
    flip(
        &damaged,
        "00000001.log",
        find(&damaged, "00000001.log", "payload"),
    );
    let told = said(&damaged.run("drop", &["2"]), "is damaged");
    vec![late, in_use, unwritable, told]
}
