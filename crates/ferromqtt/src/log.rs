//! What is told to `tracing`, if that feature is on, with the target `ferromqtt`. Never a payload, never a credential.

use crate::{ConnectionError, ReasonCode, Slip, TopicFilter};

#[cfg(feature = "tracing")]
pub(crate) fn connected(session_present: bool) {
    tracing::info!(target: "ferromqtt", session_present, "connected");
}

#[cfg(feature = "tracing")]
pub(crate) fn disconnected(cause: &ConnectionError, retries: bool, unflushed: u64) {
    match cause {
        ConnectionError::Closed => tracing::info!(target: "ferromqtt", "disconnected"),
        cause => tracing::warn!(target: "ferromqtt", %cause, retries, unflushed, "no connection"),
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn unflushed(messages: u64) {
    tracing::warn!(target: "ferromqtt", messages, "QoS 0 messages were not written before the connection was closed");
}

#[cfg(feature = "tracing")]
pub(crate) fn not_restored(filter: &str, reason: ReasonCode) {
    tracing::warn!(target: "ferromqtt", filter, %reason, "a subscription that the server had lost was not renewed");
}

#[cfg(feature = "tracing")]
pub(crate) fn tolerated(slip: Slip) {
    tracing::warn!(
        target: "ferromqtt",
        ?slip,
        "the server breaks a rule of MQTT, which is tolerated: {slip}"
    );
}

/// For the first loss of a stream since it was asked for its losses: more are counted there.
#[cfg(feature = "tracing")]
pub(crate) fn lost(filters: &[TopicFilter]) {
    tracing::warn!(
        target: "ferromqtt",
        filters = %list(filters),
        "received messages are lost: the queue was full (see take_lost and stats for how many)"
    );
}

#[cfg(feature = "tracing")]
pub(crate) fn not_subscribed(filter: &str, reason: ReasonCode) {
    tracing::warn!(target: "ferromqtt", filter, %reason, "the server refused a declared subscription");
}

/// Once per connection.
#[cfg(feature = "tracing")]
pub(crate) fn unclaimed(messages: u64) {
    tracing::warn!(
        target: "ferromqtt",
        messages,
        "no stream has claimed messages of the session in time: they go to Client::messages, and are acknowledged; \
         subscribe earlier, declare the subscription in the options, or unsubscribe from what is not needed"
    );
}

#[cfg(feature = "tracing")]
pub(crate) fn forgotten(filters: &[TopicFilter]) {
    tracing::warn!(
        target: "ferromqtt",
        filters = %list(filters),
        "QoS 0 messages are lost: the queue is full, and nobody has polled the stream for 5 s (poll it, or drop it)"
    );
}

#[cfg(feature = "tracing")]
pub(crate) fn message_suspected(
    topic: &str,
    messages: usize,
    ends: u32,
    reason: Option<ReasonCode>,
) {
    match reason {
        Some(reason) => tracing::warn!(
            target: "ferromqtt",
            topic,
            messages,
            ends,
            %reason,
            "the server may be ending one connection after another because of a message in flight: they are sent one at a time"
        ),
        None => tracing::warn!(
            target: "ferromqtt",
            topic,
            messages,
            ends,
            "one connection after another has ended while messages were in flight, and none was acknowledged: one of them may be the reason, and is sent again"
        ),
    }
}

#[cfg(feature = "tracing")]
pub(crate) fn message_refused(topic: &str, reason: ReasonCode) {
    tracing::warn!(
        target: "ferromqtt",
        topic,
        %reason,
        "the server ended the connection each time this message was sent: it is given up"
    );
}

#[cfg(feature = "tracing")]
pub(crate) fn stalled(filters: &[TopicFilter]) {
    tracing::warn!(
        target: "ferromqtt",
        filters = %list(filters),
        "a full stream has withheld acknowledgements for 5 s, and holds up all others (read it faster, or choose another \
         Overflow)"
    );
}

#[cfg(feature = "tracing")]
fn list(filters: &[TopicFilter]) -> String {
    let filters: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
    filters.join(", ")
}

/// At each connection that is not what TLS promises.
#[cfg(all(feature = "tls", feature = "tracing"))]
pub(crate) fn danger(host: &str, danger: &str) {
    tracing::warn!(
        target: "ferromqtt",
        host,
        "DANGER: {danger}; anyone may pretend to be the server"
    );
}

#[cfg(all(feature = "tls", not(feature = "tracing")))]
pub(crate) const fn danger(_host: &str, _danger: &str) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn unflushed(_messages: u64) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn not_restored(_filter: &str, _reason: ReasonCode) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn tolerated(_slip: Slip) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn not_subscribed(_filter: &str, _reason: ReasonCode) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn unclaimed(_messages: u64) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn lost(_filters: &[TopicFilter]) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn forgotten(_filters: &[TopicFilter]) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn stalled(_filters: &[TopicFilter]) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn connected(_session_present: bool) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn disconnected(_cause: &ConnectionError, _retries: bool, _unflushed: u64) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn message_suspected(
    _topic: &str,
    _messages: usize,
    _ends: u32,
    _reason: Option<ReasonCode>,
) {
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn message_refused(_topic: &str, _reason: ReasonCode) {}
