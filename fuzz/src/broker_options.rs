//! Options of a broker.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use ferromqtt_testing::{Authentication, BrokerOptions, User};

use crate::packets;
use crate::source::Source;

/// Small limits, so that they are met.
pub fn any(source: &mut Source<'_>) -> BrokerOptions {
    let mut options = BrokerOptions::default();
    let few = |source: &mut Source<'_>| NonZeroU16::MIN.saturating_add(source.byte().into());
    if source.flag() {
        return options;
    }
    options.inflight_window = few(source);
    options.receive_maximum = few(source);
    if let Some(size) = source.option(Source::byte) {
        options.maximum_packet_size = NonZeroU32::MIN.saturating_add(size.into());
    }
    options.maximum_queued_messages = source.byte().into();
    options.maximum_retained_messages = source.below(4);
    if let Some(bytes) = source.option(Source::byte) {
        options.maximum_output = bytes.into();
    }
    let bytes = |source: &mut Source<'_>| 64 * usize::from(source.byte());
    options.maximum_connections = source.below(5);
    options.maximum_sessions = source.below(5);
    options.maximum_subscriptions = source.below(5);
    for limit in [
        &mut options.maximum_session_bytes,
        &mut options.maximum_queued_bytes,
        &mut options.maximum_retained_bytes,
    ] {
        if let Some(bytes) = source.option(bytes) {
            *limit = bytes;
        }
    }
    options.handshake_timeout = Duration::from_secs(1 + u64::from(source.byte()));
    options.maximum_qos = source.qos();
    options.retain_available = !source.flag();
    options.topic_alias_maximum = source.byte().into();
    options.server_keep_alive = source.option(|source| source.byte().into());
    options.maximum_session_expiry_interval = match source.byte() {
        0 => u32::MAX,
        seconds => seconds.into(),
    };
    options.wildcard_subscription_available = !source.flag();
    options.shared_subscription_available = !source.flag();
    options.subscription_identifier_available = !source.flag();
    // Those that are refused are as good as none.
    let _ = source.flag() && {
        let (filter, reason) = (source.filter(), packets::reason(source));
        options.deny_publish(filter, reason).is_ok()
    };
    let _ = source.flag() && {
        let (filter, reason) = (source.filter(), packets::reason(source));
        options.deny_subscribe(filter, reason).is_ok()
    };
    let _ = source.flag() && {
        let (identifier, reason) = (source.text(), packets::reason(source));
        options.deny_connect(identifier.as_str(), reason).is_ok()
    };
    options.users = source
        .option(|source| User::new(source.text().as_str(), source.bytes()))
        .into_iter()
        .collect();
    options.authentication = source.option(authentication).flatten();
    options.topic_aliases_out = source.below(4) as u16;
    options.assign_client_identifiers = !source.flag();
    options.response_information = source.option(Source::text);
    options.server_reference = source.option(Source::text);
    options.server_moved = source.flag();
    options
}

/// A method whose right answers are empty, so that a client passes by chance.
fn authentication(source: &mut Source<'_>) -> Option<Authentication> {
    let method = source.text();
    let steps = source.below(3);
    Authentication::new(method.as_str(), vec![("challenge", ""); steps]).ok()
}
