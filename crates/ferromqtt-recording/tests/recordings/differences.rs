//! What `diff` says.

use std::time::Duration;

use ferromqtt_proto::packet::{Packet, ProtocolVersion};
use ferromqtt_recording::{ComparedTimes, RecordedPayloads, diff};

use crate::scene::{Scene, connack, connect, puback, publish};

fn started(payloads: RecordedPayloads) -> Scene {
    let mut scene = Scene::v5(payloads);
    scene.client(&Packet::Connect(Box::new(connect(
        "pump-7",
        ProtocolVersion::V5,
    ))));
    scene.server(&connack());
    scene
}

fn difference(one: &Scene, two: &Scene) -> String {
    diff(&one.recording(), &two.recording(), ComparedTimes::Ignored)
}

#[test]
fn times_numbers_of_packet_identifiers_and_the_order_of_directions_make_no_difference() {
    let mut one = started(RecordedPayloads::Whole);
    one.client(&publish("a", b"1", Some(1)));
    one.server(&puback(1));
    one.client(&publish("a", b"2", Some(2)));
    one.server(&puback(2));
    let mut two = started(RecordedPayloads::Hashed);
    two.wait(Duration::from_secs(9));
    two.client(&publish("a", b"1", Some(70)));
    two.client(&publish("a", b"2", Some(80)));
    two.server(&puback(70));
    two.server(&puback(80));
    assert_eq!(difference(&one, &two), "");
    let with_times = diff(
        &one.recording(),
        &two.recording(),
        ComparedTimes::Milliseconds,
    );
    assert!(
        with_times.contains("time: 0 ms, in the second 9000 ms"),
        "{with_times}"
    );
}

#[test]
fn an_acknowledgement_of_another_packet_is_a_difference() {
    let mut one = started(RecordedPayloads::Whole);
    let mut two = started(RecordedPayloads::Whole);
    for scene in [&mut one, &mut two] {
        scene.client(&publish("a", b"1", Some(1)));
        scene.client(&publish("b", b"1", Some(2)));
    }
    one.server(&puback(1));
    two.server(&puback(2));
    let text = difference(&one, &two);
    assert!(
        text.contains("packet_id: 1 and in the second 2 do not answer the same packet"),
        "{text}"
    );
}

#[test]
fn it_says_what_is_missing_added_and_changed() {
    let mut one = started(RecordedPayloads::Whole);
    one.client(&publish("a", b"on", Some(1)));
    one.server(&puback(1));
    one.client(&publish("lost", b"x", None));
    one.close();
    let mut two = started(RecordedPayloads::Whole);
    two.client(&publish("a", b"off", Some(1)));
    two.server(&puback(1));
    two.server(&publish("news", b"y", None));
    two.close();
    assert_eq!(
        difference(&one, &two),
        "link 1 (pump-7):\n\
        \x20 ~ line 5 and 5  -> PUBLISH topic \"a\", packet_id 1\n\
        \x20     payload: 2 bytes \"on\", in the second 3 bytes \"off\"\n\
        \x20 + line 7     <- PUBLISH topic \"news\", qos 0, payload 1 byte \"y\"\n\
        \x20 - line 7     -> PUBLISH topic \"lost\", qos 0, payload 1 byte \"x\"\n"
    );
}

#[test]
fn a_link_that_only_one_has_is_shown_as_a_whole() {
    let one = started(RecordedPayloads::Whole);
    let mut two = started(RecordedPayloads::Whole);
    let mut link = two.recorder.open(two.now);
    let now = two.now;
    let other = two.encoded(&Packet::Connect(Box::new(connect(
        "other",
        ProtocolVersion::V5,
    ))));
    link.to_server(now, &other);
    let text = difference(&one, &two);
    assert!(
        text.starts_with("link 2 (other): only in the second\n  + line 5     -- opened --\n"),
        "{text}"
    );
    assert!(difference(&two, &one).contains("only in the first"));
    two.close();
}
