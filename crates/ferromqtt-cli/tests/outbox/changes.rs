//! `retry` and `drop`, beside an owner and without.

use std::time::Duration;

use ferromqtt_proto::Properties;
use ferromqtt_store::{QuarantineReason, StoreChange, StoreCommand};

use crate::folder::{Folder, Owner, accepted, accepted_for, publish, sending};
use crate::looking::{find, flip};

fn quarantined(key: u64, why: QuarantineReason) -> StoreChange {
    StoreChange::Quarantined { key, why }
}

/// Waits, on the wire, and two in quarantine.
fn four_messages() -> Folder {
    Folder::with(&[
        accepted(1, publish("waits", "one")),
        accepted(2, publish("sent", "two")),
        sending(2),
        accepted(3, publish("refused", "three")),
        quarantined(3, QuarantineReason::Refused(0x90)),
        accepted(4, publish("large", "four")),
        quarantined(4, QuarantineReason::TooLarge),
    ])
}

#[test]
fn drop_ends_the_messages_that_are_named() {
    let folder = four_messages();
    let ran = folder.run("drop", &["4", "1", "4"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert_eq!(ran.stdout, "dropped 2 messages: 1, 4\n");
    assert_eq!(folder.ls("%k %s"), ["2 sent", "3 quarantined"]);
    let stat = &folder.run("stat", &["--json"]).json()[0];
    assert_eq!(stat["so_far"]["dropped"], 2);
}

#[test]
fn drop_leaves_what_is_on_the_wire_and_says_so() {
    let folder = four_messages();
    let ran = folder.run("drop", &["2", "3", "9"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (1, "dropped 1 message: 3\n")
    );
    assert_eq!(
        ran.stderr,
        "ferromqtt: message 2 is on the wire, and stays: it ends when the server answers\n\
         ferromqtt: there is no message 9: it has ended, or never was\n"
    );
    let ran = folder.run("drop", &["--older-than", "0s"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "dropped 2 messages: 1, 4\n")
    );
    assert_eq!(
        ran.stderr,
        "ferromqtt: not dropped: 1 message on the wire; they end when the server answers\n"
    );
    assert_eq!(folder.ls("%k"), ["2"]);
}

#[test]
fn drop_takes_what_all_options_select() {
    let folder = four_messages();
    let ran = folder.run("drop", &["--quarantined", "-t", "waits", "-t", "large"]);
    assert_eq!(ran.stdout, "dropped 1 message: 4\n");
    let ran = folder.run("drop", &["--older-than", "1h"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "nothing to do\n"));
    let ran = folder.run("drop", &["--quarantined"]);
    assert_eq!(ran.stdout, "dropped 1 message: 3\n");
    assert_eq!(folder.ls("%k"), ["1", "2"]);
    for arguments in [
        &[][..],
        &["1", "--quarantined"],
        &["--older-than", "1"],
        &["x"],
    ] {
        assert_eq!(folder.run("drop", arguments).code, 2, "{arguments:?}");
    }
    assert_eq!(folder.ls("%k"), ["1", "2"]);
}

#[test]
fn drop_takes_a_damaged_message_by_its_key() {
    let folder = four_messages();
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "one"),
    );
    assert_eq!(
        folder.run("drop", &["-t", "#"]).stdout,
        "dropped 2 messages: 3-4\n"
    );
    assert_eq!(folder.run("drop", &["1"]).stdout, "dropped 1 message: 1\n");
    assert_eq!(folder.ls("%k"), ["2"]);
}

#[test]
fn retry_accepts_messages_in_quarantine_again_at_the_end() {
    let mut large = publish("large", "four");
    large.retain = true;
    large.properties = Some(Box::new(Properties {
        content_type: Some("text/plain".parse().unwrap()),
        message_expiry_interval: Some(3_600),
        ..Properties::default()
    }));
    let folder = Folder::with(&[
        accepted_for(4, large, Some(Duration::from_secs(60))),
        quarantined(4, QuarantineReason::TooLarge),
        accepted(5, publish("waits", "five")),
        accepted(6, publish("uncertain", "six")),
        quarantined(6, QuarantineReason::Uncertain),
    ]);
    let ran = folder.run("retry", &["--all"]);
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stdout, "retried 2 messages: 4, 6 as 7-8\n");
    assert_eq!(
        ran.stderr,
        "ferromqtt: the server may have 1 QoS 2 message of these already: they may arrive twice\n"
    );
    assert_eq!(
        folder.ls("%k %t %r %p %s"),
        [
            "5 waits 0 five waits",
            "7 large 1 four waits",
            "8 uncertain 0 six waits"
        ]
    );
    let export = folder.run("export", &["--payload"]).json();
    let properties = &export[1]["properties"];
    assert_eq!(properties["content_type"], "text/plain");
    // What is left of its time, and not what it once was.
    let left = properties["message_expiry_interval"].as_u64().unwrap();
    assert!((1..=60).contains(&left), "{left}");
    assert!(export[1]["expires_at"].is_u64());
    let stat = &folder.run("stat", &["--json"]).json()[0];
    assert_eq!(stat["so_far"]["retried"], 2);
    assert_eq!(stat["quarantined"], 0);
}

#[test]
fn retry_leaves_what_is_not_in_quarantine_is_expired_or_cannot_be_read() {
    let folder = Folder::with(&[
        accepted(1, publish("waits", "one")),
        accepted_for(2, publish("expired", "two"), Some(Duration::ZERO)),
        quarantined(2, QuarantineReason::TooLarge),
        accepted(3, publish("damaged", "three")),
        quarantined(3, QuarantineReason::TooLarge),
    ]);
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "three"),
    );
    let ran = folder.run("retry", &["1", "2", "3", "9"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "nothing to do\n"));
    assert_eq!(
        ran.stderr,
        "ferromqtt: message 1 is not in quarantine: it is sent when its turn comes\n\
         ferromqtt: there is no message 9: it has ended, or never was\n\
         ferromqtt: message 2 can no longer be sent in time, and stays; drop it\n\
         ferromqtt: message 3 cannot be read, and stays; 'ferromqtt outbox check' says why\n"
    );
    assert_eq!(folder.run("ls", &["-F", "%k"]).lines(), ["1", "2", "3"]);
}

#[test]
fn an_owner_is_asked_and_does_it() {
    let folder = four_messages();
    let owner = Owner::start(&folder);
    let me = format!("process {} (outbox-", std::process::id());
    let ran = folder.run("drop", &["1", "2"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.starts_with(&format!("asked {me}")), "{ran:?}");
    assert!(ran.stdout.ends_with(" to drop 1 message: 1\n"), "{ran:?}");
    assert!(ran.stderr.contains("message 2 is on the wire, and stays"));
    assert_eq!(owner.commands(1), [StoreCommand::Drop(1)]);
    let ran = folder.run("retry", &["--all"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.ends_with(" to retry 2 messages: 3-4\n"),
        "{ran:?}"
    );
    assert_eq!(
        owner.commands(2),
        [StoreCommand::Retry(3), StoreCommand::Retry(4)]
    );
    // It is for the owner to do; nothing was written beside it.
    assert_eq!(folder.ls("%k"), ["1", "2", "3", "4"]);
    let ran = folder.run("drop", &["-t", "nothing"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "nothing to do\n"));
    owner.close();
}

#[test]
fn an_owner_that_does_not_look_gets_the_commands_later() {
    let folder = four_messages();
    let opened = folder.open(); // without its thread
    let ran = folder.run("drop", &["1"]);
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.ends_with(" to drop 1 message: 1\n"), "{ran:?}");
    assert!(
        ran.stderr
            .contains(" has not looked for 3 s; it does what it was asked for when it does")
    );
    drop(opened);
    let owner = Owner::start(&folder);
    assert_eq!(owner.commands(1), [StoreCommand::Drop(1)]);
    owner.close();
}

#[test]
fn damage_that_nobody_has_reported_is_told_before_a_change() {
    let folder = Folder::new();
    let mut store = folder.open();
    for key in 1..=3 {
        store
            .record(&[accepted(key, publish("t", &format!("message {key}")))])
            .unwrap();
    }
    drop(store); // without an index: opening it meets the damage
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "message 1"),
    );
    let ran = folder.run("drop", &["2"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "dropped 1 message: 2\n")
    );
    assert_eq!(
        ran.stderr,
        "ferromqtt: the outbox is damaged in 1 place; 'ferromqtt outbox check' says what is lost\n"
    );
    assert_eq!(folder.run("drop", &["3"]).stderr, ""); // once
    let check = folder.run("check", &[]);
    assert!(
        check.code == 1 || !check.stdout.contains("not reported yet"),
        "{check:?}"
    );
}

#[test]
fn a_path_that_is_no_outbox_is_left_as_it_is() {
    let folder = Folder::new();
    for subcommand in [
        &["ls"][..],
        &["stat"],
        &["check"],
        &["export"],
        &["retry", "--all"],
        &["drop", "1"],
    ] {
        let ran = folder.run(subcommand[0], &subcommand[1..]);
        let code = if subcommand == ["check"] { 2 } else { 1 };
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (code, ""),
            "{subcommand:?}"
        );
        let said = format!(
            "ferromqtt: there is no outbox at {}; give the folder that the client was given\n",
            folder.text()
        );
        assert_eq!(ran.stderr, said);
        assert!(!folder.path().exists());
    }
    std::fs::create_dir(folder.path()).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    for arguments in [&["drop", "1"][..], &["import"]] {
        assert_eq!(folder.run(arguments[0], &arguments[1..]).code, 1);
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}
