//! `export`, and `import` of what it wrote.

use std::time::Duration;

use ferromqtt_proto::{Properties, Publish, QoS, SessionChange, UserProperties};
use ferromqtt_store::{QuarantineReason, StoreChange};

use crate::folder::{Folder, Owner, accepted, accepted_for, publish, run, run_with_input, sending};

fn full_properties() -> Properties {
    let mut user_properties = UserProperties::new();
    user_properties.try_push("from", "pump\n7").unwrap();
    user_properties.try_push("from", "again").unwrap();
    Properties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(600),
        content_type: Some("text/plain".parse().unwrap()),
        response_topic: Some("answers/7".parse().unwrap()),
        correlation_data: Some(vec![0, 255, 7].into()),
        user_properties,
        ..Properties::default()
    }
}

/// Messages of every kind, and those that are expected of an import.
fn every_kind() -> (Folder, Vec<Publish>) {
    let mut full = publish("full", "text\twith\nlines");
    full.retain = true;
    full.qos = QoS::ExactlyOnce;
    full.properties = Some(Box::new(full_properties()));
    let mut binary = publish("binary/é", "");
    binary.payload = (0..=255).collect::<Vec<u8>>().into();
    let mut control = publish("control", "\u{1b}[2J");
    control.qos = QoS::AtMostOnce;
    let plain = publish("plain", "28.4");
    let minute = Some(Duration::from_secs(600));
    let folder = Folder::with(&[
        accepted_for(11, full.clone(), minute),
        accepted(12, binary.clone()),
        StoreChange::Session(SessionChange::Accepted {
            key: 13,
            publish: control.clone(),
            expires_in: None,
            keep_latest: true,
        }),
        accepted(14, plain.clone()),
        sending(14),
        accepted(15, plain.clone()),
        StoreChange::Quarantined {
            key: 15,
            why: QuarantineReason::Refused(0x99),
        },
        accepted(16, plain.clone()),
        StoreChange::Quarantined {
            key: 16,
            why: QuarantineReason::EndsConnections,
        },
    ]);
    (
        folder,
        vec![full, binary, control, plain.clone(), plain.clone(), plain],
    )
}

#[test]
fn what_was_exported_is_imported_under_new_keys() {
    let (folder, mut expected) = every_kind();
    let export = folder.run("export", &["--payload"]);
    assert_eq!((export.code, export.stderr.as_str()), (0, ""));
    let other = Folder::with(&[accepted(40, publish("before", ""))]);
    let import = ["outbox", "import", other.text()];
    let ran = run_with_input(&import, export.stdout.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        ran.stdout,
        "imported 6 messages: keys 41 to 46, 2 of them in quarantine\n"
    );
    assert_eq!(
        ran.stderr,
        "ferromqtt: of these messages, 1 had been sent before, and may arrive twice\n"
    );
    let mut store = other.open();
    let infos: Vec<_> = store.messages().skip(1).collect();
    assert!(infos.iter().all(|info| info.sent.is_none()));
    let quarantine: Vec<_> = infos
        .iter()
        .map(|it| it.quarantine.map(|it| it.why))
        .collect();
    let why = [
        QuarantineReason::Refused(0x99),
        QuarantineReason::EndsConnections,
    ];
    assert_eq!(quarantine[..4], [None; 4]);
    assert_eq!(quarantine[4..], why.map(Some));
    let read = |store: &mut ferromqtt_store::OpenedStore, key| store.read(key).unwrap().unwrap();
    let full = read(&mut store, 41);
    assert!(full.expires_at.unwrap() > full.accepted_at + 500_000);
    let left = full
        .publish
        .properties
        .as_ref()
        .unwrap()
        .message_expiry_interval;
    assert!((500..=600).contains(&left.unwrap()), "{left:?}");
    expected[0]
        .properties
        .as_mut()
        .unwrap()
        .message_expiry_interval = left;
    for (key, expected) in (41..).zip(expected) {
        assert_eq!(read(&mut store, key).publish, expected);
    }
    assert!(read(&mut store, 43).keep_latest);
}

#[test]
fn export_leaves_out_what_belongs_to_the_application_unless_asked() {
    let (folder, _) = every_kind();
    let lines = folder.run("export", &[]).json();
    let full = &lines[0];
    assert_eq!(full["payload_bytes"], 15);
    let properties = &full["properties"];
    assert_eq!(properties["content_type"], "text/plain");
    assert_eq!(properties["response_topic"], "answers/7");
    assert_eq!(properties["correlation_data_bytes"], 3);
    assert_eq!(properties["user_properties_count"], 2);
    for name in ["payload", "payload_base64"] {
        assert!(lines.iter().all(|line| line.get(name).is_none()));
    }
    let lines = folder.run("export", &["--payload"]).json();
    assert_eq!(lines[0]["payload"], "text\twith\nlines");
    assert_eq!(lines[2]["payload_base64"], "G1sySg=="); // a terminal would obey it
    let pairs = serde_json::json!([["from", "pump\n7"], ["from", "again"]]);
    assert_eq!(lines[0]["properties"]["user_properties"], pairs);
    assert_eq!(lines[0]["properties"]["correlation_data_base64"], "AP8H");
    let keys = |arguments: &[&str]| {
        let lines = folder.run("export", arguments).json();
        lines
            .iter()
            .map(|line| line["key"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(&["-t", "binary/+"]), [12]);
    assert_eq!(keys(&["--quarantined"]), [15, 16]);
}

#[test]
fn nothing_is_imported_when_a_line_is_wrong() {
    let folder = Folder::with(&[accepted(1, publish("before", ""))]);
    let lines = "{\"topic\":\"a\",\"payload\":\"x\"}\n\n{\"topic\":\"a\"}\nno json\n\
                 {\"topic\":\"#\",\"payload\":\"geheim\"}\n";
    let import = ["outbox", "import", folder.text()];
    let ran = run_with_input(&import, lines.as_bytes());
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let said: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(
        said[0],
        "ferromqtt: line 3: there is no payload: export with --payload"
    );
    assert_eq!(said[1], "ferromqtt: line 4: no JSON from column 2 on");
    assert!(
        said[2].starts_with("ferromqtt: line 5: topic: "),
        "{said:?}"
    );
    assert_eq!(
        said[3],
        "ferromqtt: 3 of 4 lines in standard input cannot be imported, and nothing was; mend them or leave them out"
    );
    assert!(!ran.stderr.contains("geheim"));
    assert_eq!(folder.ls("%k"), ["1"]);
    // An outbox that is not there is not made for that.
    let other = Folder::new();
    assert_eq!(
        run_with_input(&["outbox", "import", other.text()], b"{}\n").code,
        1
    );
    assert!(!other.path().exists());
}

#[test]
fn import_makes_an_outbox_and_leaves_out_what_has_expired() {
    let folder = Folder::new();
    let file = Folder::new();
    let lines = "{\"topic\":\"a\",\"payload\":\"x\",\"qos\":1}\n\
                 {\"topic\":\"b\",\"payload\":\"y\",\"expires_at\":1000}\n";
    std::fs::write(file.path(), lines).unwrap();
    let ran = run(&["outbox", "import", folder.text(), file.text()]);
    std::fs::remove_file(file.path()).unwrap();
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "imported 1 message: key 1\n")
    );
    assert_eq!(
        ran.stderr,
        "ferromqtt: of these messages, 1 could no longer be sent in time and was left out\n"
    );
    assert_eq!(folder.ls("%k %t %q %p"), ["1 a 1 x"]);
    let ran = run_with_input(&["outbox", "import", folder.text(), "-"], b"");
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "imported 0 messages\n")
    );
}

#[test]
fn import_says_who_has_the_outbox() {
    let folder = Folder::new();
    let owner = Owner::start(&folder);
    let import = ["outbox", "import", folder.text()];
    let ran = run_with_input(&import, b"{\"topic\":\"a\",\"payload\":\"x\"}\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let who = format!(
        "ferromqtt: the store {} is in use by process {} (outbox-",
        folder.text(),
        std::process::id()
    );
    assert!(ran.stderr.starts_with(&who), "{ran:?}");
    assert!(
        ran.stderr
            .ends_with("close it there, or choose another folder\n"),
        "{ran:?}"
    );
    owner.close();
    assert_eq!(folder.ls("%k"), [""; 0]);
}
