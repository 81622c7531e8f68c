//! Properties that may repeat: User Properties and Subscription Identifiers, in what memory they are held.

use bytes::{Bytes, BytesMut};

use super::{PacketType, Properties, PropertyPlace, UserProperties, read_boxed};
use crate::codec::BodyReader;
use crate::error::{DecodeError, StringError};
use crate::text::Utf8String;

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

/// Reads these properties of a PUBLISH, whose length field it writes.
fn read(content: &[u8]) -> (Bytes, Result<Properties, DecodeError>) {
    let mut source = BytesMut::new();
    crate::codec::put_var_int(&mut source, content.len());
    source.extend_from_slice(content);
    let source = source.freeze();
    let mut body = BodyReader::new(&source, 0, source.len());
    let properties = read_boxed(PropertyPlace::of(PacketType::Publish), &mut body);
    let properties = properties.map(|it| *it.unwrap_or_default());
    (source, properties)
}

fn written(properties: &Properties) -> BytesMut {
    let mut out = BytesMut::new();
    properties.encode_in_publish(&mut out);
    out
}

#[test]
fn user_properties_are_a_slice_of_what_they_were_read_from() {
    let content = b"\x02\x00\x00\x00\x07\x26\x00\x01a\x00\x011\x26\x00\x00\x00\x00";
    let (source, properties) = read(content);
    let user_properties = properties.unwrap().user_properties;
    let pairs: Vec<_> = user_properties.iter().collect();
    assert_eq!(pairs, [("a", "1"), ("", "")]);
    let place = user_properties.encoded().as_ptr_range();
    assert!(source.as_ptr_range().contains(&place.start));
    assert_eq!(place.end, source.as_ptr_range().end);
}

#[test]
fn user_properties_between_other_properties_keep_their_order() {
    let content = b"\x26\x00\x01a\x00\x011\x01\x01\x26\x00\x01b\x00\x012\x26\x00\x01c\x00\x013\x0b\x05\x26\x00\x00\x00\x00";
    let properties = read(content).1.unwrap();
    let pairs: Vec<_> = properties.user_properties.iter().collect();
    assert_eq!(pairs, [("a", "1"), ("b", "2"), ("c", "3"), ("", "")]);
    assert_eq!(properties.user_properties.len(), 4);
    assert_eq!(properties.subscription_identifiers, [5]);
    assert_eq!(properties.payload_format_indicator, Some(true));
    let again = read(&written(&properties)).1;
    assert_eq!(again, Ok(properties));
}

#[test]
fn a_fault_in_any_user_property_is_found_when_the_packet_is_read_mqtt_1_5_4_2() {
    for content in [
        &b"\x26\x00\x01a\x00\x01\x00"[..],
        b"\x26\x00\x01\xff\x00\x01a",
        b"\x26\x00\x01a\x00\x011\x26\x00\x00\x00\x01\x00",
        b"\x26\x00\x00\x00\x00\x01\x01\x26\x00\x00\x00\x01\x00",
        b"\x26\x00\x00\x00\x00\x01\x01\x26\x00\x00\x00\x00\x0b\x05\x26\x00\x00\x00\x01\x00",
        b"\x26\x00\x00\x00",
        b"\x26\x00\x00\x00\x00\x26",
        b"\x26\x00\x00\x00\x02a",
    ] {
        assert!(read(content).1.is_err(), "{content:?}");
    }
}

#[test]
fn pushed_pairs_follow_those_that_a_clone_still_has() {
    let mut properties = UserProperties::from([(text("a"), text("1"))]);
    let clone = properties.clone();
    properties.push((text("b"), text("2")));
    properties.extend([(text("c"), text("3"))]);
    assert_eq!(properties.try_push("d\0", ""), Err(StringError::Nul));
    assert!(properties.try_push("", &"x".repeat(65_536)).is_err());
    properties.try_push("d", "").unwrap();
    let pairs: Vec<_> = properties.iter().collect();
    assert_eq!(pairs, [("a", "1"), ("b", "2"), ("c", "3"), ("d", "")]);
    assert_eq!(clone, vec![(text("a"), text("1"))].into());
    properties.clear();
    assert!(properties.is_empty());
    assert_eq!(properties, UserProperties::new());
}

#[test]
fn many_subscription_identifiers_take_no_more_memory_than_they_need() {
    for count in [1, 4, 5, 6, 100, 4_097] {
        let properties = read(&b"\x0b\x01".repeat(count)).1.unwrap();
        let identifiers = properties.subscription_identifiers;
        assert_eq!(identifiers.len(), count);
        assert!(!identifiers.has_room(), "{count}");
        let between = b"\x0b\x01\x26\x00\x00\x00\x00".repeat(count);
        let properties = read(&between).1.unwrap();
        assert!(!properties.subscription_identifiers.has_room());
        assert_eq!(properties.user_properties.len(), count);
        assert_eq!(properties.user_properties.encoded_len(), 5 * count);
    }
}

#[test]
fn detached_properties_hold_their_own_memory_and_say_how_much() {
    let content =
        b"\x03\x00\x04text\x09\x00\x02\x00\x01\x26\x00\x01a\x00\x011\x0b\x05\x02\x00\x00\x00\x07";
    let (source, properties) = read(content);
    let mut properties = properties.unwrap();
    let before = properties.clone();
    properties.detach();
    assert_eq!(properties, before);
    drop(before);
    assert!(source.is_unique());
    let held = "text".len() + 2 + 7;
    assert_eq!(properties.memory_size(), size_of::<Properties>() + held);
}

#[test]
fn debug_shows_how_many_user_properties_there_are_and_not_what_they_say() {
    let properties = UserProperties::from([(text("token"), text("hunter2"))]);
    let shown = format!("{properties:?} {:?}", properties.iter());
    assert!(
        !shown.contains("token") && !shown.contains("hunter2"),
        "{shown}"
    );
    assert!(shown.contains("pairs: 1"), "{shown}");
}
