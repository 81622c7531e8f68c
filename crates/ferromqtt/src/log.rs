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
    use crate::{ConnectionError, Contest, ReasonCode, Slip, TopicFilter, TopicName};

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
        Packet(proto::PacketRecord),
        Untraced {
            packets: u64,
        },
        Connected {
            session_present: bool,
            assigned: Option<proto::Utf8String>,
        },
        Disconnected,
        NoConnection {
            /// The server had accepted it.
            established: bool,
            cause: ConnectionError,
            retries: bool,
            unflushed: u64,
            times: u64,
        },
        Unflushed {
            messages: u64,
            times: u64,
        },
        NotRestored {
            filter: TopicFilter,
            reason: ReasonCode,
            times: u64,
        },
        Tolerated {
            slip: Slip,
            times: u64,
        },
        Lost {
            filters: String,
            times: u64,
        },
        NotSubscribed {
            filter: TopicFilter,
            reason: ReasonCode,
            times: u64,
        },
        Unclaimed {
            messages: u64,
            times: u64,
        },
        Forgotten {
            filters: String,
            times: u64,
        },
        MessageSuspected {
            topic: TopicName,
            messages: usize,
            ends: u32,
            reason: Option<ReasonCode>,
            times: u64,
        },
        MessageRefused {
            topic: TopicName,
            reason: ReasonCode,
            times: u64,
        },
        IdentifierContested {
            contest: Contest,
            times: u64,
        },
        Stalled {
            filters: String,
            times: u64,
        },
        Unacknowledged {
            messages: usize,
            times: u64,
        },
        AllLost {
            messages: u64,
        },
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
        /// The number so far, if a line is to be written.
        fn times(&mut self, kind: &'static str, subject: &str) -> Option<u64> {
            (self.repeats.count(now(), kind, subject, 1)).map(|repeat| repeat.total)
        }

        pub(crate) const fn connecting() -> Option<LogLine> {
            Some(LogLine::Connecting)
        }

        /// Appends the lines of a fact.
        pub(crate) fn note(&mut self, fact: Fact, lines: &mut Vec<LogLine>) {
            if let Fact::Ended { lost } = fact {
                // What no line has reported: how many received messages were lost in all, and lines.
                lines.extend((lost > 0).then_some(LogLine::AllLost { messages: lost }));
                lines.extend(self.repeats.take_unreported().map(LogLine::LeftOut));
            } else {
                lines.extend(self.line(fact));
            }
        }

        fn line(&mut self, fact: Fact) -> Option<LogLine> {
            Some(match fact {
                Fact::Packet(record) => LogLine::Packet(record),
                Fact::Untraced { packets } => LogLine::Untraced { packets },
                Fact::Connected {
                    session_present,
                    assigned,
                    properties: _,
                } => {
                    self.warned_of_unclaimed = false;
                    LogLine::Connected {
                        session_present,
                        assigned,
                    }
                }
                Fact::Disconnected {
                    cause: ConnectionError::Closed | ConnectionError::Dropped,
                    ..
                } => LogLine::Disconnected,
                Fact::Disconnected {
                    cause,
                    retry_at,
                    unflushed,
                    established,
                } => {
                    let kind = match established {
                        true => "connection lost",
                        false => "cannot connect",
                    };
                    let times = self.times(kind, &cause.to_string())?;
                    let retries = retry_at.is_some();
                    LogLine::NoConnection {
                        established,
                        cause,
                        retries,
                        unflushed,
                        times,
                    }
                }
                Fact::Unflushed { messages } => {
                    let times = self.times("unflushed", "")?;
                    LogLine::Unflushed { messages, times }
                }
                Fact::NotRestored { filter, reason } => {
                    let times = self.times("not restored", &filter)?;
                    LogLine::NotRestored {
                        filter,
                        reason,
                        times,
                    }
                }
                Fact::Tolerated { slip } => {
                    let times = self.times("tolerated", &slip.to_string())?;
                    LogLine::Tolerated { slip, times }
                }
                // For the first loss of a stream since it was asked for its losses: more are counted there. That it is
                // forgotten was logged.
                Fact::Lost {
                    forgotten: true, ..
                } => return None,
                Fact::Lost { filters, .. } => {
                    let filters = list(&filters);
                    let times = self.times("lost", &filters)?;
                    LogLine::Lost { filters, times }
                }
                Fact::NotSubscribed { filter, reason } => {
                    let times = self.times("not subscribed", &filter)?;
                    LogLine::NotSubscribed {
                        filter,
                        reason,
                        times,
                    }
                }
                Fact::Unclaimed { messages } => {
                    if mem::replace(&mut self.warned_of_unclaimed, true) {
                        return None;
                    }
                    let times = self.times("unclaimed", "")?;
                    LogLine::Unclaimed { messages, times }
                }
                Fact::Forgotten { filters } => {
                    let filters = list(&filters);
                    let times = self.times("forgotten", &filters)?;
                    LogLine::Forgotten { filters, times }
                }
                Fact::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason,
                } => {
                    let times = self.times("message suspected", topic.as_str())?;
                    LogLine::MessageSuspected {
                        topic,
                        messages,
                        ends,
                        reason,
                        times,
                    }
                }
                Fact::MessageRefused { topic, reason } => {
                    let times = self.times("message refused", topic.as_str())?;
                    LogLine::MessageRefused {
                        topic,
                        reason,
                        times,
                    }
                }
                Fact::IdentifierContested(contest) => {
                    let times = self.times("identifier contested", &contest.client_identifier)?;
                    LogLine::IdentifierContested { contest, times }
                }
                Fact::Stalled { filters } => {
                    let filters = list(&filters);
                    let times = self.times("stalled", &filters)?;
                    LogLine::Stalled { filters, times }
                }
                Fact::Unacknowledged { messages } => {
                    let times = self.times("unacknowledged", "")?;
                    LogLine::Unacknowledged { messages, times }
                }
                Fact::Ended { .. } => return None, // see `note`
            })
        }
    }

    impl LogLine {
        pub(super) fn write(self, context: &Context) {
            match self {
                Self::Connecting => tracing::debug!(target: "ferromqtt", "connecting"),
                Self::Packet(record) => {
                    let packet_id = record.packet_id.map(proto::PacketId::get);
                    tracing::debug!(
                        target: "ferromqtt",
                        packet = record.packet_type.name(),
                        bytes = record.bytes,
                        packet_id,
                        "{record}"
                    );
                }
                Self::Untraced { packets } => tracing::debug!(
                    target: "ferromqtt",
                    packets,
                    "so many packets have no line: there were too many at once"
                ),
                Self::Connected {
                    session_present,
                    assigned,
                } => {
                    if let Some(assigned) = assigned {
                        context.0.record("client_identifier", assigned.as_str());
                    }
                    tracing::info!(target: "ferromqtt", session_present, "connected");
                }
                Self::Disconnected => tracing::info!(target: "ferromqtt", "disconnected"),
                Self::NoConnection {
                    cause,
                    retries,
                    unflushed,
                    times,
                    established: true,
                } => tracing::warn!(
                    target: "ferromqtt",
                    %cause,
                    retries,
                    unflushed,
                    times,
                    "connection lost: {cause}"
                ),
                Self::NoConnection {
                    cause,
                    retries,
                    unflushed,
                    times,
                    established: false,
                } => tracing::warn!(
                    target: "ferromqtt",
                    %cause,
                    retries,
                    unflushed,
                    times,
                    "cannot connect: {cause}"
                ),
                Self::Unflushed { messages, times } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "QoS 0 messages were not written before the connection was closed"
                ),
                Self::NotRestored {
                    filter,
                    reason,
                    times,
                } => tracing::warn!(
                    target: "ferromqtt",
                    filter = filter.as_str(),
                    %reason,
                    times,
                    "a subscription that the server had lost was not renewed"
                ),
                Self::Tolerated { slip, times } => tracing::warn!(
                    target: "ferromqtt",
                    ?slip,
                    times,
                    "the server breaks a rule of MQTT, which is tolerated: {slip}"
                ),
                Self::Lost { filters, times } => tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "received messages are lost: the queue was full (see take_lost and stats for how many)"
                ),
                Self::NotSubscribed {
                    filter,
                    reason,
                    times,
                } => tracing::warn!(
                    target: "ferromqtt",
                    filter = filter.as_str(),
                    %reason,
                    times,
                    "the server refused a declared subscription"
                ),
                Self::Unclaimed { messages, times } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "no stream has claimed messages of the session in time: they go to Client::messages, and are \
                     acknowledged; subscribe earlier, declare the subscription in the options, or unsubscribe from what is \
                     not needed"
                ),
                Self::Forgotten { filters, times } => tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "QoS 0 messages are lost: the queue is full, and nobody has polled the stream for 5 s (poll it, or drop \
                     it)"
                ),
                Self::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason: Some(reason),
                    times,
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
                Self::MessageSuspected {
                    topic,
                    messages,
                    ends,
                    reason: None,
                    times,
                } => tracing::warn!(
                    target: "ferromqtt",
                    topic = topic.as_str(),
                    messages,
                    ends,
                    times,
                    "one connection after another has ended while messages were in flight, and none was acknowledged: one \
                     of them may be the reason, and is sent again"
                ),
                Self::MessageRefused {
                    topic,
                    reason,
                    times,
                } => tracing::warn!(
                    target: "ferromqtt",
                    topic = topic.as_str(),
                    %reason,
                    times,
                    "the server ended the connection each time this message was sent: it is given up"
                ),
                Self::IdentifierContested { contest, times } => {
                    tracing::warn!(target: "ferromqtt", ends = contest.ends, times, "{contest}");
                }
                Self::Stalled { filters, times } => tracing::warn!(
                    target: "ferromqtt",
                    %filters,
                    times,
                    "a full stream has withheld acknowledgements for 5 s, and holds up all others (read it faster, or choose \
                     another Overflow)"
                ),
                Self::Unacknowledged { messages, times } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    times,
                    "the application has not acknowledged many received messages, and for 5 s the server has sent no \
                     QoS 1 or 2 message: it may be waiting for acknowledgements"
                ),
                Self::AllLost { messages } => tracing::warn!(
                    target: "ferromqtt",
                    messages,
                    "so many received messages were lost in all, since queues were full"
                ),
                Self::LeftOut(proto::Unreported {
                    kind,
                    subject,
                    total,
                    new,
                    ..
                }) => tracing::warn!(
                    target: "ferromqtt",
                    kind,
                    %subject,
                    times = total,
                    left_out = new,
                    "log lines that say the same were left out"
                ),
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
