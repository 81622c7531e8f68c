//! Options of a client.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::{
    Acknowledge, CleanStart, OnSessionLost, Options, OutgoingLimits, OutgoingPolicy, Overflow,
    ProtocolVersion, QueueOptions, Reconnect,
};

use crate::packets;
use crate::properties;
use crate::source::Source;

/// None is 0: a client that may try again without any wait would do so forever.
const DURATIONS: [Duration; 4] = [
    Duration::from_millis(1),
    Duration::from_secs(1),
    Duration::from_secs(3_600),
    Duration::MAX,
];

/// Options that may be wrong: `Client::new` checks them.
pub fn any(source: &mut Source<'_>) -> Options {
    let mut options = Options::default();
    options.protocol = version(source);
    let v5 = options.protocol.is_v5();
    options.client_identifier = source.text();
    options.clean_start =
        source.pick(&[CleanStart::Never, CleanStart::FirstOnly, CleanStart::Always]);
    options.keep_alive = source.byte().into();
    if v5 {
        options.properties = properties::some_of(&properties::OF_CONNECT, source);
    }
    // Last in the input is what matters least.
    options.reconnect = source.option(reconnect);
    options.on_session_lost = source.pick(&[OnSessionLost::Report, OnSessionLost::Resend]);
    options.max_in_flight =
        source.option(|source| NonZeroU16::MIN.saturating_add(source.byte().into()));
    options.outgoing = OutgoingLimits {
        messages: source.option(|source| source.below(8)),
        bytes: source.option(|source| usize::from(source.byte())),
    };
    options.outgoing_policy = source.pick(&[
        OutgoingPolicy::Refuse,
        OutgoingPolicy::DropOldest,
        OutgoingPolicy::DropNewest,
        OutgoingPolicy::Wait,
    ]);
    options.topic_aliases_out = source.below(4) as u16;
    options.incoming = queue(source);
    options.connect_timeout = source.option(|source| source.pick(&DURATIONS));
    options.will = source.option(packets::will);
    options.user_name = source.option(Source::text);
    options.servers = NonZeroU16::MIN.saturating_add(source.below(3) as u16);
    options.follow_server_reference = source.flag();
    options.journal = source.flag();
    options.maximum_packet_size =
        source.option(|source| NonZeroU32::MIN.saturating_add(source.byte().into()));
    options.password = source.option(|source| Bytes::copy_from_slice(source.bytes()));
    // These have no byte of their own: older inputs keep their meaning.
    options.fresh_credentials = options.password.is_some();
    options.claim_within = options.connect_timeout;
    if !v5 {
        options.topic_aliases_out = 0; // refused there
        options.follow_server_reference = false;
    }
    options.strict = options.keep_alive.is_multiple_of(2);
    options
}

/// Bounds of a queue of received messages.
pub fn queue(source: &mut Source<'_>) -> QueueOptions {
    QueueOptions {
        limit: source.option(|source| source.below(4)),
        bytes: source.option(|source| source.below(16)),
        overflow: source.pick(&[
            Overflow::DropOldest,
            Overflow::DropNewest,
            Overflow::Wait,
            Overflow::Fail,
        ]),
        acknowledge: source.pick(&[Acknowledge::OnReceipt, Acknowledge::ByApplication]),
    }
}

/// A version of MQTT.
pub fn version(source: &mut Source<'_>) -> ProtocolVersion {
    source.pick(&[
        ProtocolVersion::V5,
        ProtocolVersion::V311,
        ProtocolVersion::V31,
    ])
}

fn reconnect(source: &mut Source<'_>) -> Reconnect {
    Reconnect {
        initial_delay: source.pick(&DURATIONS),
        max_delay: source.pick(&DURATIONS),
        stable_after: source.pick(&DURATIONS),
        initial: source.flag(),
        ..Reconnect::default()
    }
}
