//! `ls`, `stat` and `check`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use ferromqtt_proto::{QoS, SessionChange};
use ferromqtt_store::{EndedHow, QuarantineReason, StoreChange};

use crate::folder::{Folder, Owner, accepted, accepted_for, command, publish, sending};

/// One of each state, and their topics.
fn all_states() -> Folder {
    let mut retained = publish("site/7/state", "on");
    retained.retain = true;
    retained.qos = QoS::ExactlyOnce;
    let quarantined = |key, why| StoreChange::Quarantined { key, why };
    Folder::with(&[
        accepted(1, publish("site/7/level", "28.4")),
        accepted(2, publish("site/8/level", "29.0")),
        sending(2),
        accepted(3, retained),
        sending(3),
        StoreChange::Session(SessionChange::Releasing { key: 3 }),
        accepted(4, publish("alarms", "!")),
        quarantined(4, QuarantineReason::Refused(0x87)),
        accepted(5, publish("alarms", "!")),
        quarantined(5, QuarantineReason::Uncertain),
        accepted_for(6, publish("site/9", ""), Some(Duration::from_secs(7_300))),
    ])
}

#[test]
fn ls_prints_a_row_for_each_message() {
    let ran = all_states().run("ls", &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let rows: Vec<Vec<_>> = (ran.stdout.lines())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let ages: Vec<_> = rows.iter().skip(1).map(|row| row[1]).collect();
    assert!(ages.iter().all(|age| age.ends_with('s')), "{ages:?}");
    let others: Vec<_> = rows
        .iter()
        .map(|row| [&row[..1], &row[2..]].concat().join(" "))
        .collect();
    assert_eq!(
        others,
        [
            "KEY Q R SIZE STATE WHY EXPIRES TOPIC",
            "1 1 - 4 waits - - site/7/level",
            "2 1 - 4 sent - - site/8/level",
            "3 2 r 2 released - - site/7/state",
            "4 1 - 1 quarantined refused:0x87 - alarms",
            "5 1 - 1 quarantined uncertain - alarms",
            "6 1 - 0 waits - 2h site/9",
        ]
    );
}

#[test]
fn ls_chooses_by_topic_as_subscriptions_do_and_by_quarantine() {
    let folder = all_states();
    let keys = |arguments: &[&str]| {
        let ran = folder.run("ls", &[arguments, &["-F", "%k"]].concat());
        assert_eq!(ran.code, 0);
        ran.lines().join(" ")
    };
    assert_eq!(keys(&["-t", "site/+/level"]), "1 2");
    assert_eq!(keys(&["-t", "site/#", "--topic", "alarms"]), "1 2 3 4 5 6");
    assert_eq!(keys(&["-t", "site"]), "");
    assert_eq!(keys(&["--quarantined"]), "4 5");
    assert_eq!(keys(&["--quarantined", "-t", "site/#"]), "");
    let system = Folder::with(&[accepted(1, publish("$SYS/load", ""))]);
    assert_eq!(system.run("ls", &["-t", "#", "-F", "%k"]).stdout, "");
    assert_eq!(
        system.run("ls", &["-t", "$SYS/#", "-F", "%k"]).stdout,
        "1\n"
    );
}

#[test]
fn ls_prints_lines_of_a_given_form() {
    let folder = all_states();
    assert_eq!(
        folder.ls("%k|%t|%q|%r|%l|%s|%w|%p|%x|100%%\\t."),
        [
            "1|site/7/level|1|0|4|waits|-|28.4|32382e34|100%\t.",
            "2|site/8/level|1|0|4|sent|-|29.0|32392e30|100%\t.",
            "3|site/7/state|2|1|2|released|-|on|6f6e|100%\t.",
            "4|alarms|1|0|1|quarantined|refused:0x87|!|21|100%\t.",
            "5|alarms|1|0|1|quarantined|uncertain|!|21|100%\t.",
            "6|site/9|1|0|0|waits|-|||100%\t.",
        ]
    );
    let seconds: Vec<u64> = (folder.ls("%e").last().unwrap().split(' '))
        .map(|it| it.parse().unwrap())
        .collect();
    assert!((7_000..7_300).contains(&seconds[0]), "{seconds:?}");
    assert_eq!(folder.ls("%e")[0], "-");
}

#[test]
fn ls_shows_no_payload_unless_asked() {
    let secret = "geheim-payload";
    let folder = Folder::with(&[accepted(1, publish("t", secret))]);
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["stat"],
        &["check"],
        &["export"],
    ] {
        let ran = folder.run(arguments[0], &arguments[1..]);
        assert_eq!(ran.code, 0);
        assert!(!ran.stdout.contains("geheim"), "{arguments:?}");
    }
    assert_eq!(folder.ls("%p"), [secret]);
}

#[test]
fn topics_and_payloads_cannot_write_to_the_terminal() {
    let hostile = "a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c\u{7f}";
    let folder = Folder::with(&[accepted(1, publish(hostile, hostile))]);
    for arguments in [
        &["ls"][..],
        &["ls", "-F", "%t %p"],
        &["ls", "--json"],
        &["export", "--payload"],
    ] {
        let ran = folder.run(arguments[0], &arguments[1..]);
        let heading = usize::from(arguments == ["ls"]);
        assert_eq!(ran.lines().len(), 1 + heading, "{arguments:?}");
        let obeyed = |it: char| it != '\n' && (it.is_control() || it == '\u{202e}');
        assert!(!ran.stdout.contains(obeyed), "{:?}", ran.stdout);
    }
    // JSON gives it back as it was.
    assert_eq!(folder.run("ls", &["--json"]).json()[0]["topic"], hostile);
    assert_eq!(
        folder.ls("%t")[0],
        r"a\u{1b}[2J\u{9b}31m\r\nb\u{202e}c\u{7f}"
    );
}

#[test]
fn ls_prints_json_with_all_that_is_known() {
    let lines = all_states().run("ls", &["--json"]).json();
    let message = &lines[3];
    assert_eq!(message["key"], 4);
    assert_eq!(message["topic"], "alarms");
    assert_eq!(
        (&message["qos"], &message["retain"]),
        (&1.into(), &false.into())
    );
    assert_eq!(message["payload_bytes"], 1);
    assert!(message["disk_bytes"].as_u64().unwrap() > 10);
    assert!(message["accepted_at"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(
        (&message["state"], &message["why"]),
        (&"quarantined".into(), &"refused".into())
    );
    assert_eq!(message["reason_code"], 0x87);
    assert!(message["quarantined_at"].as_u64().unwrap() > 1_600_000_000_000);
    assert!(message["expires_at"].is_null());
    assert_eq!(lines[1]["tries"], 1);
    assert!(lines[5]["expires_at"].as_u64().unwrap() > 1_600_000_000_000);
}

#[test]
fn stat_counts_and_names_the_owner() {
    let folder = all_states();
    let stat = folder.run("stat", &[]);
    assert_eq!((stat.code, stat.stderr.as_str()), (0, ""));
    let rows: Vec<_> = (stat.stdout.lines())
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for expected in [
        "client none yet",
        "owner none",
        "on the wire 2",
        "quarantined 2",
        "1 refused with 0x87 (Not authorized)",
        "1 uncertain",
        "accepted 6",
        "acknowledged 0",
    ] {
        assert!(
            rows.iter().any(|row| row == expected),
            "{expected}: {rows:#?}"
        );
    }
    let owner = Owner::start(&folder);
    let how = EndedHow::Acknowledged;
    let client = StoreChange::Identity("pump-7".to_owned());
    owner.record([client, StoreChange::Ended { key: 1, how }]);
    let json = &folder.run("stat", &["--json"]).json()[0];
    assert_eq!(json["client_identifier"], "pump-7");
    assert_eq!(json["owner"]["process"], std::process::id());
    assert!(
        json["owner"]["program"]
            .as_str()
            .unwrap()
            .starts_with("outbox")
    );
    assert_eq!(
        (&json["messages"], &json["on_the_wire"]),
        (&5.into(), &2.into())
    );
    assert_eq!(
        (&json["oldest_key"], &json["quarantined"]),
        (&2.into(), &2.into())
    );
    assert_eq!(json["quarantined_by"].as_array().unwrap().len(), 2);
    assert_eq!(json["so_far"]["acknowledged"], 1);
    assert_eq!(json["new_damages"], 0);
    let stat = folder.run("stat", &[]).stdout;
    let process = format!("process {} (outbox", std::process::id());
    assert!(
        stat.contains(&process) && stat.contains("pump-7 (made 0s ago)"),
        "{stat}"
    );
    owner.close();
    assert!(folder.run("stat", &["--json"]).json()[0]["owner"].is_null());
}

#[test]
fn looking_goes_on_beside_an_owner_that_ends_and_moves_messages() {
    let folder = Folder::new();
    let owner = Owner::start(&folder);
    let load = |key| accepted(key, publish("load", &"x".repeat(5_000)));
    owner.record((1..=2_000).map(load));
    // Its output is a pipe of 64 KiB: it stops until this test reads.
    let mut child = command(&["outbox", "export", "--payload", folder.text()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let key = |line: String| -> u64 {
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["key"].as_u64().unwrap()
    };
    assert_eq!(key(lines.next().unwrap().unwrap()), 1);
    // Nine of ten end, the rest is moved to the end, and the files go.
    let how = EndedHow::Acknowledged;
    let ends = (1..=2_000).filter(|key| key % 10 != 0);
    owner.record(ends.map(|key| StoreChange::Ended { key, how }));
    for round in 0..4 {
        let keys = 3_000 + round * 1_000..4_000 + round * 1_000;
        owner.record(keys.clone().map(load));
        owner.record(keys.map(|key| StoreChange::Ended { key, how }));
    }
    assert!(!folder.path().join("00000001.log").exists());
    let rest: Vec<_> = lines.map(|line| key(line.unwrap())).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(rest.is_sorted() && rest.len() < 1_000, "{}", rest.len());
    let living: Vec<_> = (rest.iter().copied()).filter(|key| key % 10 == 0).collect();
    assert!(
        living.into_iter().eq((1..=200).map(|it| it * 10)),
        "{rest:?}"
    );
    owner.close();
}

/// Flips a bit of a byte in a file of the outbox.
pub(crate) fn flip(folder: &Folder, file: &str, at: usize) {
    let path = folder.path().join(file);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Where a text is in a file of the outbox.
pub(crate) fn find(folder: &Folder, file: &str, text: &str) -> usize {
    let bytes = std::fs::read(folder.path().join(file)).unwrap();
    let mut windows = bytes.windows(text.len());
    windows.position(|it| it == text.as_bytes()).unwrap()
}

#[test]
fn check_ends_with_1_on_damage_and_says_where_and_what_is_lost() {
    let folder = all_states();
    let sound = folder.run("check", &[]);
    assert_eq!((sound.code, sound.stderr.as_str()), (0, ""));
    assert!(
        sound
            .stdout
            .starts_with("no damage: 6 messages can be read; "),
        "{sound:?}"
    );
    // Below an index: nothing else says so.
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "29.0"),
    );
    assert_eq!(folder.run("stat", &["--json"]).json()[0]["new_damages"], 0);
    let damaged = folder.run("check", &[]);
    assert_eq!((damaged.code, damaged.stderr.as_str()), (1, ""));
    let lines = damaged.lines();
    assert_eq!(
        lines[0],
        "damage: segment 00000001, frame 2 is unreadable: 1 message lost: 2"
    );
    assert!(
        lines[1].starts_with("damage in 1 place: 5 messages can be read; "),
        "{lines:?}"
    );
    let ls = folder.run("ls", &[]);
    assert_eq!(ls.code, 1);
    assert!(ls.stdout.contains("(damaged: it cannot be read)"));
    assert_eq!(
        ls.stderr,
        "ferromqtt: 1 message cannot be read; 'ferromqtt outbox check' says why\n"
    );
    let export = folder.run("export", &[]);
    assert_eq!((export.code, export.lines().len()), (1, 5));
    let nothing = Folder::new();
    assert_eq!(nothing.run("check", &[]).code, 2);
}

#[test]
fn check_tells_what_a_power_cut_leaves_from_damage() {
    let folder = Folder::new();
    let mut store = folder.open();
    for (key, payload) in [(1, "one"), (2, "two")] {
        store
            .record(&[accepted(key, publish("t", payload))])
            .unwrap();
    }
    drop(store); // as a power cut does: the segment is not ended
    let path = folder.path().join("00000001.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"fmq1 and a torn frame");
    std::fs::write(&path, bytes).unwrap();
    let ran = folder.run("check", &[]);
    assert_eq!(ran.code, 0);
    let torn = format!("no damage: segment 00000001 has 21 bytes from byte {whole} on that count");
    assert!(ran.stdout.starts_with(&torn), "{ran:?}");
    assert!(ran.stdout.contains("\nno damage: 2 messages can be read; "));
    // What was known to be on the disk is missing.
    flip(
        &folder,
        "00000001.log",
        find(&folder, "00000001.log", "one"),
    );
    let ran = folder.run("check", &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout
            .contains("damage: segment 00000001, frame 1 is lost: "),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("(not reported yet)"));
}

#[test]
fn a_reader_that_has_seen_enough_ends_it_quietly() {
    let folder = Folder::with(&[accepted(1, publish("t", &"x".repeat(200_000)))]);
    let mut store = folder.open();
    for key in 2..=200 {
        store
            .record(&[accepted(key, publish("t", &"x".repeat(2_000)))])
            .unwrap();
    }
    store.close().unwrap();
    flip(&folder, "00000001.log", 300); // for check, whose code stays
    for (arguments, code) in [
        (&["export", "--payload"][..], 0),
        (&["ls", "-F", "%p"], 0),
        (&["check"], 1),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut all = vec!["outbox", arguments[0], folder.text()];
        all.extend(&arguments[1..]);
        let output = command(&all).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}
