//! Runs the real `ferromqtt recording`.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use ferromqtt_testing::recording::{ClosedBy, RecordedPayloads, Recorder};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ferromqtt"))
        .arg("recording")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A recording of one PUBLISH, in a file that is this test's own.
fn recorded(test: &str, publish: &[u8]) -> PathBuf {
    let name = format!("{}-{test}.mqttlog", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let recorder = Recorder::to_file(&path, RecordedPayloads::Whole).unwrap();
    let now = Instant::now();
    let mut link = recorder.open(now);
    link.to_server(now, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a");
    link.to_server(now, publish);
    link.close(now, ClosedBy::Client);
    recorder.finish().unwrap();
    path
}

#[test]
fn show_prints_a_line_for_each_packet() {
    let path = recorded("show", b"\x30\x05\x00\x01thi");
    let shown = run(&["show", path.to_str().unwrap()]);
    assert_eq!(shown.status.code(), Some(0));
    assert!(
        text(&shown).contains("link 1 (a)  -> PUBLISH topic \"t\", qos 0, payload 2 bytes \"hi\"")
    );
    assert_eq!(text(&shown).lines().count(), 4);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn diff_ends_as_diff_does() {
    let one = recorded("one", b"\x30\x05\x00\x01thi");
    let two = recorded("two", b"\x30\x05\x00\x01tho");
    let (first, second) = (one.to_str().unwrap(), two.to_str().unwrap());
    let same = run(&["diff", first, first, "--times"]);
    assert_eq!((same.status.code(), text(&same).as_str()), (Some(0), ""));
    let different = run(&["diff", first, second]);
    assert_eq!(different.status.code(), Some(1));
    assert!(text(&different).contains("payload: 2 bytes \"hi\", in the second 2 bytes \"ho\""));
    std::fs::write(&two, "no recording\n").unwrap();
    let trouble = run(&["diff", first, second]);
    assert_eq!(trouble.status.code(), Some(2));
    let said = String::from_utf8(trouble.stderr).unwrap();
    assert!(
        said.contains("line 1 is no line of a recording") && said.contains(second),
        "{said}"
    );
    std::fs::remove_file(one).unwrap();
    std::fs::remove_file(two).unwrap();
}
