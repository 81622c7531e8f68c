//! What is told to `tracing`, if that feature is on, with the target `ferromqtt`. Never a payload, never a credential.

use crate::{ConnectionError, ReasonCode, TopicFilter};

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
pub(crate) fn not_restored(filter: &str, reason: ReasonCode) {
    tracing::warn!(target: "ferromqtt", filter, %reason, "a subscription that the server had lost was not renewed");
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
pub(crate) fn forgotten(filters: &[TopicFilter]) {
    tracing::warn!(
        target: "ferromqtt",
        filters = %list(filters),
        "QoS 0 messages are lost: the queue is full, and nobody has polled the stream for 5 s (poll it, or drop it)"
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
pub(crate) const fn not_restored(_filter: &str, _reason: ReasonCode) {}

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
