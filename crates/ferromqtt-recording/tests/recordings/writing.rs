//! What is written, and when.

use std::io;
use std::time::{Duration, Instant};

use ferromqtt_proto::packet::{Packet, ProtocolVersion};
use ferromqtt_recording::{ClosedBy, RecordedEvent, RecordedPayloads, Recorder, Recording};

use crate::scene::{Scene, connack, connect, puback, publish};

fn session(payloads: RecordedPayloads) -> Scene {
    let mut scene = Scene::v5(payloads);
    scene.client(&Packet::Connect(Box::new(connect(
        "pump-7",
        ProtocolVersion::V5,
    ))));
    scene.server(&connack());
    scene.wait(Duration::from_millis(1500));
    scene.client(&publish("a/b", b"on", Some(7)));
    scene.server(&puback(7));
    scene.close();
    scene
}

#[test]
fn each_packet_has_a_line_with_its_time_link_client_direction_and_fields() {
    let text = session(RecordedPayloads::Hashed).text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert_eq!(lines[0], r#"{"mqttlog":1,"payloads":false}"#);
    assert_eq!(lines[1], r#"{"at":0.000000,"link":1,"event":"opened"}"#);
    assert_eq!(
        lines[4],
        r#"{"at":1.500000,"link":1,"client":"pump-7","to":"server","packet":"PUBLISH","topic":"a/b","qos":1,"packet_id":7,"payload":{"length":2,"hash":"08b05807b5566370"}}"#
    );
    assert_eq!(
        lines[6],
        r#"{"at":1.500000,"link":1,"client":"pump-7","event":"closed by client"}"#
    );
}

#[test]
fn payloads_and_bytes_are_there_only_when_asked_for() {
    let text = session(RecordedPayloads::Whole).text();
    assert!(
        text.contains(r#""text":"on"},"bytes":"320a0003612f62000700"#),
        "{text}"
    );
    let recording = session(RecordedPayloads::Whole).recording();
    assert!(
        recording.has_payloads() && !session(RecordedPayloads::Hashed).recording().has_payloads()
    );
}

#[test]
fn packets_are_found_however_their_bytes_come() {
    let whole = session(RecordedPayloads::Whole);
    let mut scene = Scene::v5(RecordedPayloads::Whole);
    let connect = scene.encoded(&Packet::Connect(Box::new(connect(
        "pump-7",
        ProtocolVersion::V5,
    ))));
    let publish = scene.encoded(&publish("a/b", b"on", Some(7)));
    for byte in connect {
        let now = scene.now;
        scene.link().to_server(now, &[byte]);
    }
    scene.server(&connack());
    scene.wait(Duration::from_millis(1500));
    let (front, back) = publish.split_at(4);
    let now = scene.now;
    scene.link().to_server(now, front);
    scene.link().to_server(now, back);
    scene.server(&puback(7));
    scene.close();
    assert_eq!(scene.text(), whole.text());
}

#[test]
fn a_packet_that_is_too_long_to_hold_is_recorded_by_its_length() {
    let mut scene = Scene::new(RecordedPayloads::Whole, ProtocolVersion::V311);
    let now = scene.now;
    scene
        .link()
        .to_client(now, b"\x30\xff\xff\xff\x7f\x00\x01t");
    for _ in 0..255 {
        scene.link().to_client(now, &vec![0; 1 << 20]);
    }
    let lines = scene.text();
    assert!(
        lines.ends_with("\"packet\":\"PUBLISH\",\"left_out\":268435460}\n"),
        "{}",
        lines.len()
    );
}

/// Fails from the second write on.
struct Full(u8);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += 1;
        match self.0 {
            1 => Ok(bytes.len()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_of_writing_is_reported_and_hurts_no_link() {
    let recorder = Recorder::new(Full(0), RecordedPayloads::Hashed);
    assert_eq!(recorder.error(), None);
    let mut link = recorder.open(Instant::now());
    link.to_server(Instant::now(), b"\xc0\x00");
    link.close(Instant::now(), ClosedBy::Server);
    assert_eq!(
        recorder.finish().unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    recorder.finish().unwrap();
}

#[test]
fn a_link_knows_the_identifier_that_its_server_has_assigned() {
    let mut scene = Scene::v5(RecordedPayloads::Hashed);
    scene.client(&Packet::Connect(Box::new(connect("", ProtocolVersion::V5))));
    let Packet::ConnAck(mut answer) = connack() else {
        unreachable!()
    };
    answer.properties.assigned_client_identifier = Some("auto-1".try_into().unwrap());
    scene.server(&Packet::ConnAck(answer));
    let recording = scene.recording();
    assert_eq!(
        recording.entries().last().unwrap().client.as_deref(),
        Some("auto-1")
    );
}

#[test]
fn what_was_read_shows_one_line_an_entry() {
    let scene = session(RecordedPayloads::Whole);
    let recording: Recording = scene.text().parse().unwrap();
    let shown = recording.show();
    assert_eq!(shown.lines().count(), 6);
    assert!(
        shown.contains("1.500000 s  link 1 (pump-7)  -> PUBLISH topic \"a/b\", qos 1, packet_id 7, payload 2 bytes \"on\"\n"),
        "{shown}"
    );
    let last = recording.entries().last().unwrap();
    assert!(matches!(
        last.event,
        RecordedEvent::Closed(ClosedBy::Client)
    ));
}
