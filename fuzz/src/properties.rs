//! Properties, right and wrong ones: which packet may have which is for the code under test to know.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use ferromqtt_proto::packet::TopicAlias;
use ferromqtt_proto::{Properties, QoS};

use crate::source::Source;

/// The largest Subscription Identifier.
const LARGEST_IDENTIFIER: u32 = 268_435_455;

/// Up to three properties of any kind.
pub fn any(source: &mut Source<'_>) -> Properties {
    let mut properties = Properties::default();
    for _ in 0..source.below(4) {
        let which = source.below(27);
        set(&mut properties, which, source);
    }
    properties
}

/// Up to three of the properties numbered in `which`, for a packet that is to be accepted.
pub fn some_of(which: &[usize], source: &mut Source<'_>) -> Properties {
    let mut properties = Properties::default();
    for _ in 0..source.below(4) {
        let which = source.pick(which);
        set(&mut properties, which, source);
    }
    properties
}

/// Those of CONNACK, but for the Authentication Method and Data.
pub const OF_CONNACK: [usize; 13] = [5, 6, 7, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24];
/// Those of CONNECT.
pub const OF_CONNECT: [usize; 8] = [5, 8, 9, 10, 12, 16, 17, 21];
/// Those of PUBLISH.
pub const OF_PUBLISH: [usize; 7] = [0, 1, 2, 3, 4, 18, 25];

fn set(properties: &mut Properties, which: usize, source: &mut Source<'_>) {
    let it = properties;
    match which {
        0 => it.payload_format_indicator = Some(source.flag()),
        1 => it.message_expiry_interval = Some(seconds(source)),
        2 => it.content_type = Some(source.text()),
        3 => it.response_topic = Some(source.text()),
        4 => it.correlation_data = Some(Bytes::copy_from_slice(source.bytes())),
        5 => it.session_expiry_interval = Some(seconds(source)),
        6 => it.assigned_client_identifier = Some(source.text()),
        7 => it.server_keep_alive = Some(source.u16()),
        8 => it.authentication_method = Some(source.text()),
        9 => it.authentication_data = Some(Bytes::copy_from_slice(source.bytes())),
        10 => it.request_problem_information = Some(source.flag()),
        11 => it.will_delay_interval = Some(seconds(source)),
        12 => it.request_response_information = Some(source.flag()),
        13 => it.response_information = Some(source.text()),
        14 => it.server_reference = Some(source.text()),
        15 => it.reason_string = Some(source.text()),
        16 => it.receive_maximum = Some(small_or_any(source)),
        17 => it.topic_alias_maximum = Some(u16::from(source.byte())),
        18 => it.topic_alias = Some(TopicAlias(small_or_any(source))),
        19 => it.maximum_qos = Some(source.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce])),
        20 => it.retain_available = Some(source.flag()),
        21 => it.maximum_packet_size = NonZeroU32::new(packet_size(source)),
        22 => it.wildcard_subscription_available = Some(source.flag()),
        23 => it.subscription_identifier_available = Some(source.flag()),
        24 => it.shared_subscription_available = Some(source.flag()),
        25 => it.user_properties.push((source.text(), source.text())),
        _ => it.subscription_identifiers.push(identifier(source)),
    }
}

/// An interval, short enough to pass within a run, or the longest.
fn seconds(source: &mut Source<'_>) -> u32 {
    match source.byte() {
        u8::MAX => u32::MAX,
        seconds => seconds.into(),
    }
}

fn small_or_any(source: &mut Source<'_>) -> NonZeroU16 {
    let value = match source.byte() {
        u8::MAX => source.u16(),
        small => u16::from(small % 4),
    };
    NonZeroU16::new(value).unwrap_or(NonZeroU16::MIN)
}

fn packet_size(source: &mut Source<'_>) -> u32 {
    match source.byte() {
        u8::MAX => source.u32(),
        small => small.into(),
    }
}

fn identifier(source: &mut Source<'_>) -> u32 {
    match source.byte() {
        u8::MAX => source.u32().clamp(1, LARGEST_IDENTIFIER),
        small => u32::from(small).max(1),
    }
}
