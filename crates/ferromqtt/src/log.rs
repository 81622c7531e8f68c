//! What the client writes to `tracing`, if that feature is on, with the target `ferromqtt`. Never a payload, never a credential.
//!
//! A line that repeats is written the first time and whenever its number has doubled
//! ([`Repeats`](ferromqtt_proto::Repeats)). The rest is reported when the client ends. `times` is the number so far.
//! Events report each occurrence.

use crate::{ConnectionError, ReasonCode, Slip, TopicFilter};

#[cfg(not(feature = "tracing"))]
pub(crate) use unwritten::Log;
#[cfg(feature = "tracing")]
pub(crate) use written::Log;

#[cfg(feature = "tracing")]
mod written {
    use ferromqtt_proto as proto;

    use super::{ConnectionError, ReasonCode, Slip, TopicFilter};
    use crate::shared::now;

    /// Counts the lines of one client.
    #[derive(Debug, Default)]
    pub(crate) struct Log(proto::Repeats);

    impl Log {
        /// The number so far, if a line is to be written.
        fn times(&mut self, kind: &'static str, subject: &str) -> Option<u64> {
            (self.0.count(now(), kind, subject, 1)).map(|repeat| repeat.total)
        }

        pub(crate) fn connected(session_present: bool) {
            tracing::info!(target: "ferromqtt", session_present, "connected");
        }

        pub(crate) fn disconnected(
            &mut self,
            cause: &ConnectionError,
            retries: bool,
            unflushed: u64,
        ) {
            if *cause == ConnectionError::Closed {
                tracing::info!(target: "ferromqtt", "disconnected");
            } else if let Some(times) = self.times("no connection", &cause.to_string()) {
                tracing::warn!(target: "ferromqtt", %cause, retries, unflushed, times, "no connection");
            }
        }

        pub(crate) fn unflushed(&mut self, messages: u64) {
            if let Some(times) = self.times("unflushed", "") {
                tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "QoS 0 messages were not written before the connection was closed"
                );
            }
        }

        pub(crate) fn not_restored(&mut self, filter: &str, reason: ReasonCode) {
            if let Some(times) = self.times("not restored", filter) {
                tracing::warn!(
                    target: "ferromqtt",
                    filter,
                    %reason,
                    times,
                    "a subscription that the server had lost was not renewed"
                );
            }
        }

        pub(crate) fn tolerated(&mut self, slip: Slip) {
            let text = slip.to_string();
            if let Some(times) = self.times("tolerated", &text) {
                tracing::warn!(
                    target: "ferromqtt",
                    ?slip,
                    times,
                    "the server breaks a rule of MQTT, which is tolerated: {text}"
                );
            }
        }

        /// For the first loss of a stream since it was asked for its losses: more are counted there.
        pub(crate) fn lost(&mut self, filters: &[TopicFilter]) {
            let filters = list(filters);
            if let Some(times) = self.times("lost", &filters) {
                tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "received messages are lost: the queue was full (see take_lost and stats for how many)"
                );
            }
        }

        pub(crate) fn not_subscribed(&mut self, filter: &str, reason: ReasonCode) {
            if let Some(times) = self.times("not subscribed", filter) {
                tracing::warn!(
                    target: "ferromqtt",
                    filter,
                    %reason,
                    times,
                    "the server refused a declared subscription"
                );
            }
        }

        /// Called once per connection.
        pub(crate) fn unclaimed(&mut self, messages: u64) {
            if let Some(times) = self.times("unclaimed", "") {
                tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "no stream has claimed messages of the session in time: they go to Client::messages, and are \
                     acknowledged; subscribe earlier, declare the subscription in the options, or unsubscribe from what is \
                     not needed"
                );
            }
        }

        pub(crate) fn forgotten(&mut self, filters: &[TopicFilter]) {
            let filters = list(filters);
            if let Some(times) = self.times("forgotten", &filters) {
                tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "QoS 0 messages are lost: the queue is full, and nobody has polled the stream for 5 s (poll it, or drop \
                     it)"
                );
            }
        }

        pub(crate) fn message_suspected(
            &mut self,
            topic: &str,
            messages: usize,
            ends: u32,
            reason: Option<ReasonCode>,
        ) {
            let Some(times) = self.times("message suspected", topic) else {
                return;
            };
            match reason {
                Some(reason) => tracing::warn!(
                    target: "ferromqtt",
                    topic,
                    messages,
                    ends,
                    %reason,
                    times,
                    "the server may be ending one connection after another because of a message in flight: they are sent \
                     one at a time"
                ),
                None => tracing::warn!(
                    target: "ferromqtt",
                    topic,
                    messages,
                    ends,
                    times,
                    "one connection after another has ended while messages were in flight, and none was acknowledged: one \
                     of them may be the reason, and is sent again"
                ),
            }
        }

        pub(crate) fn message_refused(&mut self, topic: &str, reason: ReasonCode) {
            if let Some(times) = self.times("message refused", topic) {
                tracing::warn!(
                    target: "ferromqtt",
                    topic,
                    %reason,
                    times,
                    "the server ended the connection each time this message was sent: it is given up"
                );
            }
        }

        pub(crate) fn stalled(&mut self, filters: &[TopicFilter]) {
            let filters = list(filters);
            if let Some(times) = self.times("stalled", &filters) {
                tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "a full stream has withheld acknowledgements for 5 s, and holds up all others (read it faster, or choose \
                     another Overflow)"
                );
            }
        }

        /// Reports what no line has, when the client ends.
        pub(crate) fn end(&mut self) {
            for proto::Unreported {
                kind,
                subject,
                total,
                new,
                ..
            } in self.0.take_unreported()
            {
                tracing::warn!(
                    target: "ferromqtt",
                    kind,
                    %subject,
                    times = total,
                    left_out = new,
                    "log lines that say the same were left out"
                );
            }
        }
    }

    fn list(filters: &[TopicFilter]) -> String {
        let filters: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
        filters.join(", ")
    }
}

#[cfg(not(feature = "tracing"))]
mod unwritten {
    use super::{ConnectionError, ReasonCode, Slip, TopicFilter};

    #[derive(Debug, Default)]
    pub(crate) struct Log(());

    #[expect(
        clippy::needless_pass_by_ref_mut,
        clippy::unused_self,
        reason = "as with tracing"
    )]
    impl Log {
        pub(crate) const fn connected(_session_present: bool) {}
        pub(crate) const fn disconnected(
            &mut self,
            _cause: &ConnectionError,
            _retries: bool,
            _unflushed: u64,
        ) {
        }
        pub(crate) const fn unflushed(&mut self, _messages: u64) {}
        pub(crate) const fn not_restored(&mut self, _filter: &str, _reason: ReasonCode) {}
        pub(crate) const fn tolerated(&mut self, _slip: Slip) {}
        pub(crate) const fn lost(&mut self, _filters: &[TopicFilter]) {}
        pub(crate) const fn not_subscribed(&mut self, _filter: &str, _reason: ReasonCode) {}
        pub(crate) const fn unclaimed(&mut self, _messages: u64) {}
        pub(crate) const fn forgotten(&mut self, _filters: &[TopicFilter]) {}
        pub(crate) const fn message_suspected(
            &mut self,
            _topic: &str,
            _messages: usize,
            _ends: u32,
            _reason: Option<ReasonCode>,
        ) {
        }
        pub(crate) const fn message_refused(&mut self, _topic: &str, _reason: ReasonCode) {}
        pub(crate) const fn stalled(&mut self, _filters: &[TopicFilter]) {}
        pub(crate) const fn end(&mut self) {}
    }
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
