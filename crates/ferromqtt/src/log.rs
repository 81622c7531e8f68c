//! What the client writes to `tracing`, if that feature is on, with the target `ferromqtt`. Never a payload, never a credential.
//!
//! All lines of a connection stand in a span with its Client Identifier, server and number. With the level DEBUG each packet has a
//! line; that is asked once for each attempt to connect.
//!
//! A line that repeats is written the first time and whenever its number has doubled
//! ([`Repeats`](ferromqtt_proto::Repeats)). The rest is reported when the client ends. `times` is the number so far.
//! Events report each occurrence.
//!
//! Lines are counted under the client's lock, and written when it is released.

#[cfg(not(feature = "tracing"))]
pub(crate) use unwritten::{Context, Log, LogLine, shows_packets};
#[cfg(feature = "tracing")]
pub(crate) use written::{Context, Log, LogLine, shows_packets};

/// Writes lines, in their order. Not under a lock: a subscriber is the application's, and may call this client.
pub(crate) fn write(context: &Context, lines: Vec<LogLine>) {
    context.enter(|| {
        for line in lines {
            line.write(context);
        }
    });
}

#[cfg(feature = "tracing")]
mod written {
    use std::future::{Future, poll_fn};
    use std::mem;
    use std::pin::pin;

    use ferromqtt_engine::Fact;
    use ferromqtt_proto as proto;
    use tracing::{Level, Span};

    use crate::shared::now;
    use crate::{ConnectionError, TopicFilter};

    /// What the lines of one connection, and of the attempt to make it, have in common: a span around them. As the lines, it
    /// is made, entered and dropped without the client's lock.
    #[derive(Debug)]
    pub(crate) struct Context(Span);

    impl Context {
        /// For lines before the first attempt.
        pub(crate) const fn none() -> Self {
            Self(Span::none())
        }

        /// `server` has no user name in it. The span has the level of the most severe lines, so that each line that is written is
        /// inside of it.
        pub(crate) fn new(client_identifier: &str, server: &str, attempt: u64) -> Self {
            let named = (!client_identifier.is_empty()).then_some(client_identifier);
            Self(tracing::error_span!(
                target: "ferromqtt",
                "connection",
                client_identifier = named, // else the server assigns one
                server,
                attempt
            ))
        }

        pub(crate) fn enter<T>(&self, within: impl FnOnce() -> T) -> T {
            self.0.in_scope(within)
        }

        /// The same for what is logged while a future is polled.
        pub(crate) async fn enter_while<T>(&self, future: impl Future<Output = T>) -> T {
            let mut future = pin!(future);
            poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
        }
    }

    /// Whether anybody wants a line for each packet.
    pub(crate) fn shows_packets() -> bool {
        tracing::enabled!(target: "ferromqtt", Level::DEBUG)
    }

    /// A line that is to be written.
    #[derive(Debug)]
    pub(crate) enum LogLine {
        Connecting,
        /// A fact, and how often it has been one.
        Fact(Fact, u64),
        /// Lines that no other one has reported.
        LeftOut(proto::Unreported),
    }

    /// Counts the lines of one client, and says which of them are to be written. Writes none.
    #[derive(Debug, Default)]
    pub(crate) struct Log {
        repeats: proto::Repeats,
        /// That messages went to the default queue unclaimed has been logged, for this connection.
        warned_of_unclaimed: bool,
    }

    impl Log {
        pub(crate) const fn connecting() -> Option<LogLine> {
            Some(LogLine::Connecting)
        }

        /// Appends the lines of a fact.
        pub(crate) fn note(&mut self, fact: Fact, lines: &mut Vec<LogLine>) {
            match fact {
                // What no line has reported: how many received messages were lost in all, and lines.
                Fact::Ended { lost } => {
                    lines.extend((lost > 0).then_some(LogLine::Fact(fact, 1)));
                    lines.extend(self.repeats.take_unreported().map(LogLine::LeftOut));
                }
                Fact::Connected { .. } => {
                    self.warned_of_unclaimed = false;
                    lines.push(LogLine::Fact(fact, 1));
                }
                Fact::Unclaimed { .. } if mem::replace(&mut self.warned_of_unclaimed, true) => {}
                fact => lines.extend(self.times(&fact).map(|times| LogLine::Fact(fact, times))),
            }
        }

        /// How often there has been such a fact, if a line is to be written.
        fn times(&mut self, fact: &Fact) -> Option<u64> {
            let (kind, subject) = match fact {
                Fact::Packet(_)
                | Fact::Untraced { .. }
                | Fact::Unawaited { .. }
                | Fact::Connected { .. }
                | Fact::Ended { .. }
                | Fact::Disconnected {
                    cause: ConnectionError::Closed | ConnectionError::Dropped,
                    ..
                } => return Some(1),
                Fact::Disconnected {
                    cause, established, ..
                } => match established {
                    true => ("connection lost", cause.to_string()),
                    false => ("cannot connect", cause.to_string()),
                },
                Fact::VersionRefused { cause, .. } => ("version refused", cause.to_string()),
                Fact::Unflushed { .. } => ("unflushed", String::new()),
                Fact::NotRestored { filter, .. } => ("not restored", filter.to_string()),
                Fact::Tolerated { slip } => ("tolerated", slip.to_string()),
                // That nobody reads it was logged. How a message ends concerns the application, which has no outgoing queue yet.
                Fact::Lost {
                    forgotten: true, ..
                }
                | Fact::MessageEnded { .. } => return None,
                // For the first loss of a stream since it was asked for its losses: more are counted there.
                Fact::Lost { filters, .. } => ("lost", list(filters)),
                Fact::NotSubscribed { filter, .. } => ("not subscribed", filter.to_string()),
                Fact::Unclaimed { .. } => ("unclaimed", String::new()),
                Fact::Forgotten { filters } => ("forgotten", list(filters)),
                Fact::MessageSuspected { topic, .. } => ("message suspected", topic.to_string()),
                Fact::MessageRefused { topic, .. } => ("message refused", topic.to_string()),
                Fact::IdentifierContested(contest) => {
                    let name = contest.client_identifier.to_string();
                    ("identifier contested", name)
                }
                Fact::Stalled { filters } => ("stalled", list(filters)),
                Fact::Unacknowledged { .. } => ("unacknowledged", String::new()),
            };
            (self.repeats.count(now(), kind, &subject, 1)).map(|repeat| repeat.total)
        }
    }

    impl LogLine {
        pub(super) fn write(self, context: &Context) {
            let (fact, times) = match self {
                Self::Connecting => {
                    tracing::debug!(target: "ferromqtt", "connecting");
                    return;
                }
                Self::LeftOut(left_out) => return write_left_out(&left_out),
                Self::Fact(fact, times) => (fact, times),
            };
            match fact {
                Fact::Packet(record) => {
                    let packet_id = record.packet_id.map(proto::PacketId::get);
                    tracing::debug!(
                        target: "ferromqtt",
                        packet = record.packet_type.name(),
                        bytes = record.bytes,
                        packet_id,
                        "{record}"
                    );
                }
                Fact::Untraced { packets } => tracing::debug!(
                    target: "ferromqtt",
                    packets,
                    "so many packets have no line: there were too many at once"
                ),
                Fact::Connected {
                    session_present,
                    assigned,
                    properties: _,
                } => {
                    if let Some(assigned) = assigned {
                        context.0.record("client_identifier", assigned.as_str());
                    }
                    tracing::info!(target: "ferromqtt", session_present, "connected");
                }
                Fact::Disconnected {
                    cause: ConnectionError::Closed | ConnectionError::Dropped,
                    ..
                } => tracing::info!(target: "ferromqtt", "disconnected"),
                Fact::Disconnected {
                    cause,
                    retry_at,
                    unflushed,
                    established: true,
                } => tracing::warn!(
                    target: "ferromqtt",
                    %cause,
                    retries = retry_at.is_some(),
                    unflushed,
                    times,
                    "connection lost: {cause}"
                ),
                Fact::Disconnected {
                    cause,
                    retry_at,
                    unflushed,
                    established: false,
                } => tracing::warn!(
                    target: "ferromqtt",
                    %cause,
                    retries = retry_at.is_some(),
                    unflushed,
                    times,
                    "cannot connect: {cause}"
                ),
                Fact::VersionRefused { cause, next } => tracing::info!(
                    target: "ferromqtt",
                    %cause,
                    times,
                    "the server does not speak the version of MQTT that was tried, or does not seem to: trying {next}"
                ),
                Fact::Unflushed { messages } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "QoS 0 messages were not written before the connection was closed"
                ),
                Fact::Unawaited { not_sent, unknown } => tracing::warn!(
                    target: "ferromqtt",
                    not_sent,
                    unknown,
                    "the connection has ended, and QoS 1 and 2 messages that nobody waited for are not acknowledged (keep \
                     their receipts, or drain the connection)"
                ),
                Fact::NotRestored { filter, reason } => tracing::warn!(
                    target: "ferromqtt",
                    filter = filter.as_str(),
                    %reason,
                    times,
                    "a subscription that the server had lost was not renewed"
                ),
                Fact::Tolerated { slip } => tracing::warn!(
                    target: "ferromqtt",
                    ?slip,
                    times,
                    "the server breaks a rule of MQTT, which is tolerated: {slip}"
                ),
                Fact::Lost { filters, .. } => tracing::warn!(
                    target: "ferromqtt",
                    filters = %list(&filters),
                    times,
                    "received messages are lost: the queue was full (see take_lost and stats for how many)"
                ),
                Fact::NotSubscribed { filter, reason } => tracing::warn!(
                    target: "ferromqtt",
                    filter = filter.as_str(),
                    %reason,
                    times,
                    "the server refused a declared subscription"
                ),
                Fact::Unclaimed { messages } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "no stream has claimed messages of the session in time: they go to Client::messages, and are \
                     acknowledged; subscribe earlier, declare the subscription in the options, or unsubscribe from what is \
                     not needed"
                ),
                Fact::Forgotten { filters } => tracing::warn!(
                    target: "ferromqtt",
                    filters = %list(&filters),
                    times,
                    "QoS 0 messages are lost: the queue is full, and nobody has polled the stream for 5 s (poll it, or drop \
                     it)"
                ),
                Fact::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason: Some(reason),
                } => tracing::warn!(
                    target: "ferromqtt",
                    topic = topic.as_str(),
                    messages,
                    ends,
                    %reason,
                    times,
                    "the server may be ending one connection after another because of a message in flight: they are sent \
                     one at a time"
                ),
                Fact::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason: None,
                } => tracing::warn!(
                    target: "ferromqtt",
                    topic = topic.as_str(),
                    messages,
                    ends,
                    times,
                    "one connection after another has ended while messages were in flight, and none was acknowledged: one \
                     of them may be the reason, and is sent again"
                ),
                Fact::MessageRefused { topic, reason } => tracing::warn!(
                    target: "ferromqtt",
                    topic = topic.as_str(),
                    %reason,
                    times,
                    "the server ended the connection each time this message was sent: it is given up"
                ),
                Fact::IdentifierContested(contest) => {
                    tracing::warn!(target: "ferromqtt", ends = contest.ends, times, "{contest}");
                }
                Fact::Stalled { filters } => tracing::warn!(
                    target: "ferromqtt",
                    filters = %list(&filters),
                    times,
                    "a full stream has withheld acknowledgements for 5 s, and holds up all others (read it faster, or choose \
                     another Overflow)"
                ),
                Fact::Unacknowledged { messages } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "the application has not acknowledged many received messages, and for 5 s the server has sent no \
                     QoS 1 or 2 message: it may be waiting for acknowledgements"
                ),
                Fact::MessageEnded { .. } => {} // has no line
                Fact::Ended { lost } => tracing::warn!(
                    target: "ferromqtt",
                    messages = lost,
                    "so many received messages were lost in all, since queues were full"
                ),
            }
        }
    }

    fn write_left_out(left_out: &proto::Unreported) {
        tracing::warn!(
            target: "ferromqtt",
            kind = left_out.kind,
            subject = %left_out.subject,
            times = left_out.total,
            left_out = left_out.new,
            "log lines that say the same were left out"
        );
    }

    fn list(filters: &[TopicFilter]) -> String {
        let filters: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
        filters.join(", ")
    }
}

#[cfg(not(feature = "tracing"))]
mod unwritten {
    use std::future::Future;

    use ferromqtt_engine::Fact;

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum LogLine {}

    impl LogLine {
        pub(super) const fn write(self, _context: &Context) {
            match self {}
        }
    }

    #[derive(Debug)]
    pub(crate) struct Context(());

    #[expect(clippy::unused_self, reason = "as with tracing")]
    impl Context {
        pub(crate) const fn none() -> Self {
            Self(())
        }
        pub(crate) const fn new(_client_identifier: &str, _server: &str, _attempt: u64) -> Self {
            Self(())
        }
        pub(crate) fn enter<T>(&self, within: impl FnOnce() -> T) -> T {
            within()
        }
        pub(crate) async fn enter_while<T>(&self, future: impl Future<Output = T>) -> T {
            future.await
        }
    }

    pub(crate) const fn shows_packets() -> bool {
        false
    }

    #[derive(Debug, Default)]
    pub(crate) struct Log(());

    #[expect(
        clippy::needless_pass_by_ref_mut,
        clippy::unused_self,
        reason = "as with tracing"
    )]
    impl Log {
        pub(crate) const fn connecting() -> Option<LogLine> {
            None
        }
        pub(crate) fn note(&mut self, _fact: Fact, _lines: &mut Vec<LogLine>) {}
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
