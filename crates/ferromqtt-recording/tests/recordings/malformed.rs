//! What is no recording is refused in words, and nothing that is read or recorded panics.

use std::time::Instant;

use ferromqtt_proto::packet::{Packet, ProtocolVersion};
use ferromqtt_recording::{ClosedBy, ComparedTimes, RecordedPayloads, Recording, diff};
use proptest::prelude::*;

use crate::scene::{Scene, connack, connect, puback, publish};

fn error(text: &str) -> String {
    text.parse::<Recording>().unwrap_err().to_string()
}

const HEADER: &str = "{\"mqttlog\":1,\"payloads\":true}\n";

fn opened(at: &str) -> String {
    format!("{{\"at\":{at},\"link\":1,\"event\":\"opened\"}}\n")
}

#[test]
fn a_byte_order_mark_and_blank_lines_at_the_end_say_nothing() {
    let text = format!("\u{feff}{HEADER}{}\r\n \n\n", opened("1"));
    assert_eq!(text.parse::<Recording>().unwrap().entries().len(), 1);
    let inside = format!("{HEADER}\n{}", opened("1"));
    assert!(error(&inside).contains("line 2"));
}

/// A recording that somebody else has sent is shown in a terminal.
#[test]
fn nothing_that_is_shown_of_a_recording_gives_orders_to_a_terminal() {
    let line = |end: &str| {
        let hostile = "x\\u001b[31m\\u202e\\u200b";
        format!(
            "{{\"at\":1,\"link\":1,\"client\":\"{hostile}\",\"to\":\"server\",\"packet\":\"{hostile}\",\"topic\":\"{hostile}\",\"{hostile}\":{{\"{hostile}\":\"{hostile}\"}},\"y\":{{\"length\":1,\"hash\":\"{hostile}\"}},\"z\":{{\"length\":1,\"hash\":\"\",\"text\":\"{hostile}\"}},\"properties\":{{\"{hostile}\":\"{end}\"}}}}\n"
        )
    };
    let header = "{\"mqttlog\":1,\"payloads\":false}\n";
    let recording =
        |end: &str| -> Recording { format!("{header}{}", line(end)).parse().expect("it is one") };
    let (one, two) = (recording("\\u001b1"), recording("\\u202e2"));
    let empty: Recording = header.parse().unwrap();
    for text in [
        one.show(),
        diff(&one, &two, ComparedTimes::Milliseconds),
        diff(&one, &empty, ComparedTimes::Ignored),
        diff(&empty, &one, ComparedTimes::Ignored),
    ] {
        assert!(!text.is_empty());
        let orders = |it: char| it != '\n' && (it.is_control() || "\u{202e}\u{200b}".contains(it));
        assert!(!text.contains(orders), "{text:?}");
    }
}

#[test]
fn what_is_no_recording_is_refused_with_its_line() {
    for (text, part) in [
        (
            "",
            "line 1 is no line of a recording: the first line begins with",
        ),
        ("hello\n", "line 1 "),
        ("{\"mqttlog\":1}\n", "whether there are `payloads`"),
        ("{\"mqttlog\":2,\"payloads\":true}\n", "version 2"),
        (
            &format!("{HEADER}hello\n"),
            "line 2 is no line of a recording: it is no JSON object",
        ),
        (
            &format!("{HEADER}{{\"link\":1,\"event\":\"opened\"}}\n"),
            "no time",
        ),
        (
            &format!("{HEADER}{{\"at\":1,\"event\":\"opened\"}}\n"),
            "`link`",
        ),
        (
            &format!("{HEADER}{{\"at\":1,\"link\":1}}\n"),
            "neither a `packet`",
        ),
        (
            &format!("{HEADER}{{\"at\":1,\"link\":1,\"packet\":\"PUBACK\"}}\n"),
            "neither `to`",
        ),
        (
            &format!("{HEADER}{{\"at\":1,\"link\":1,\"to\":\"server\",\"packet\":\"PUBACK\"}}\n"),
            "`bytes`",
        ),
        (
            &format!(
                "{HEADER}{{\"at\":1,\"link\":1,\"to\":\"server\",\"packet\":\"PUBACK\",\"bytes\":\"4\"}}\n"
            ),
            "hexadecimal",
        ),
        (
            &format!("{HEADER}{}{}", opened("2.5"), opened("2.499999")),
            "line 3 is no line of a recording: its time, `at`, is earlier",
        ),
    ] {
        assert!(error(text).contains(part), "{text}: {}", error(text));
    }
    let path = std::env::temp_dir().join(format!("{}-junk.mqttlog", std::process::id()));
    std::fs::write(&path, "hello\n").unwrap();
    let junk = Recording::read(&path).unwrap_err().to_string();
    std::fs::remove_file(&path).unwrap();
    let named = format!("{}: line 1 is no line of a recording", path.display());
    assert!(junk.starts_with(&named), "{junk}");
    let missing = Recording::read("/nowhere/session.mqttlog").unwrap_err();
    assert!(
        missing.to_string().contains("/nowhere/session.mqttlog"),
        "{missing}"
    );
}

fn some_text() -> String {
    let mut scene = Scene::v5(RecordedPayloads::Whole);
    scene.client(&Packet::Connect(Box::new(connect(
        "pümp",
        ProtocolVersion::V5,
    ))));
    scene.server(&connack());
    scene.client(&publish("a", b"1", Some(1)));
    scene.server(&puback(1));
    scene.close();
    scene.text()
}

/// A program that was killed leaves its last line unfinished.
#[test]
fn a_recording_that_was_cut_off_is_read_up_to_there() {
    let text = some_text();
    let first = text.find('\n').unwrap() + 1;
    let mut before = 0;
    for end in first..=text.len() {
        let Some(part) = text.get(..end) else {
            continue;
        };
        let count = part.parse::<Recording>().unwrap().entries().len();
        assert!(count == before || count == before + 1, "{part}");
        before = count;
    }
    assert_eq!(before, text.lines().count() - 1);
}

proptest! {
    #[test]
    fn no_damage_to_a_recording_panics(at in 0_usize..2_000, with in "\\PC{0,3}") {
        let mut text = some_text();
        let at = at.min(text.len());
        if text.is_char_boundary(at) {
            text.insert_str(at, &with);
            if let Ok(recording) = text.parse::<Recording>() {
                let whole = some_text().parse().unwrap();
                let _ = (recording.show(), diff(&recording, &whole, ComparedTimes::Milliseconds));
            }
        }
    }

    #[test]
    fn whatever_goes_by_a_link_can_be_read_again(
        sent in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8),
        whole in any::<bool>(),
    ) {
        let payloads = if whole { RecordedPayloads::Whole } else { RecordedPayloads::Hashed };
        let mut scene = Scene::v5(payloads);
        scene.client(&Packet::Connect(Box::new(connect("a", ProtocolVersion::V5))));
        for (to_server, bytes) in sent {
            let now = scene.now;
            match to_server {
                true => scene.link().to_server(now, &bytes),
                false => scene.link().to_client(now, &bytes),
            }
        }
        scene.link.take().unwrap().close(Instant::now(), ClosedBy::Server);
        let recording: Recording = scene.text().parse().unwrap();
        prop_assert_eq!(diff(&recording, &recording, ComparedTimes::Milliseconds), "");
    }
}
