//! What the client writes to `tracing`, if that feature is on, with the target `ferromqtt`. Never a payload, never a credential.
//!
//! All lines of a connection stand in a span with its Client Identifier, server and number. With the level DEBUG each packet has a
//! line; that is asked once for each attempt to connect.
//!
//! The engine makes the lines, and counts those that repeat ([`Lines`](ferromqtt_engine::Lines)): `times` is the number so far.
//! Events report each occurrence.
//!
//! Lines are counted under the client's lock, and written when it is released.

use std::future::{Future, poll_fn};
use std::pin::pin;

use ferromqtt_engine::{Fact, Line, Lines};

use crate::HandlerError;
use crate::shared::now;

/// Counts the lines of one client, and says which of them are to be written. Writes none.
#[derive(Debug, Default)]
pub(crate) struct Log(Lines);

impl Log {
    /// Appends the lines of a fact.
    pub(crate) fn note(&mut self, fact: &Fact, lines: &mut Vec<Line>) {
        if cfg!(feature = "tracing") {
            self.0.note(now(), fact, lines);
        }
    }
}

/// Writes lines, in their order. Not under a lock: a subscriber is the application's, and may call this client.
pub(crate) fn write(context: &Context, lines: &[Line]) {
    context.enter(|| {
        for line in lines {
            context.write(line);
        }
    });
}

/// Whether anybody wants a line for each packet.
pub(crate) fn shows_packets() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "ferromqtt", tracing::Level::DEBUG);
    #[cfg(not(feature = "tracing"))]
    false
}

/// What the lines of one connection, and of the attempt to make it, have in common: a span around them. As the lines, it
/// is made, entered and dropped without the client's lock.
#[derive(Debug)]
pub(crate) struct Context {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

#[cfg_attr(
    not(feature = "tracing"),
    expect(
        clippy::missing_const_for_fn,
        clippy::unused_self,
        reason = "as with tracing"
    )
)]
impl Context {
    /// For lines before the first attempt.
    pub(crate) const fn none() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::none(),
        }
    }

    /// `server` has no user name in it. The span has the level of the most severe lines, so that each line that is written is
    /// inside of it.
    #[cfg_attr(
        not(feature = "tracing"),
        expect(unused_variables, reason = "it has no span")
    )]
    pub(crate) fn new(client_identifier: &str, server: &str, attempt: u64) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::error_span!(
                target: "ferromqtt",
                "connection",
                client_identifier = (!client_identifier.is_empty()).then_some(client_identifier), // else the server assigns one
                server,
                attempt
            ),
        }
    }

    pub(crate) fn enter<T>(&self, within: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(within);
        #[cfg(not(feature = "tracing"))]
        within()
    }

    /// The same for what is logged while a future is polled.
    pub(crate) async fn enter_while<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| self.enter(|| future.as_mut().poll(cx))).await
    }

    #[cfg(not(feature = "tracing"))]
    fn write(&self, _line: &Line) {}
}

#[cfg(feature = "tracing")]
mod written {
    use ferromqtt_engine::{Line, LineLevel, LineValue};
    use tracing::{Level, Value};

    use super::Context;

    /// A field of a line. One that is `None` is not recorded.
    fn value(line: &Line, name: &str) -> Option<Box<dyn Value>> {
        Some(match line.get(name)? {
            LineValue::Number(number) => Box::new(*number),
            LineValue::Flag(flag) => Box::new(*flag),
            LineValue::Words(words) => Box::new(tracing::field::display(words.clone())),
            LineValue::Name(name) => Box::new(name.clone()),
        })
    }

    macro_rules! event {
        ($level:ident, $line:ident, $($name:ident)+) => {
            tracing::event!(
                target: "ferromqtt",
                Level::$level,
                $($name = value($line, stringify!($name)),)+
                "{}",
                $line.text
            )
        };
    }

    /// An event with the fields that any line has.
    macro_rules! any_event {
        ($level:ident, $line:ident) => {
            event!(
                $level, $line,
                packet bytes packet_id packets session_present cause retries unflushed slip topic filter filters reason
                messages ends not_sent unknown kind subject left_out times
            )
        };
    }

    impl Context {
        pub(super) fn write(&self, line: &Line) {
            if let Some(LineValue::Name(assigned)) = line.get("client_identifier") {
                self.span.record("client_identifier", assigned.as_str());
            }
            match line.level {
                LineLevel::Debug => any_event!(DEBUG, line),
                LineLevel::Info => any_event!(INFO, line),
                LineLevel::Warn => any_event!(WARN, line),
            }
        }
    }
}

/// A handler of a router has failed, and the program has not said what is to be done then.
#[cfg(feature = "tracing")]
pub(crate) fn handler_failed(filter: &str, topic: &str, error: &HandlerError) {
    tracing::error!(target: "ferromqtt", filter, topic, cause = %error, "a handler of the router failed");
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn handler_failed(_filter: &str, _topic: &str, _error: &HandlerError) {}

/// An exactly-once handler has failed on a message at each try.
#[cfg(feature = "tracing")]
pub(crate) fn dead_letter(handler: &str, topic: &str, error: &str) {
    tracing::error!(target: "ferromqtt", handler, topic, cause = error, "an exactly-once handler failed, and its message is a dead letter");
}

/// A message of QoS 1 has come to an exactly-once handler without a key.
#[cfg(feature = "tracing")]
pub(crate) fn not_qos_2(handler: &str, topic: &str) {
    tracing::warn!(
        target: "ferromqtt",
        handler,
        topic,
        "an exactly-once handler without a key gets a message below QoS 2, which may be handled more than once (publish with QoS 2, and see whether the server has granted that)"
    );
}

/// A message may have been handled before, in a session that is lost.
#[cfg(feature = "tracing")]
pub(crate) fn handled_in_doubt(handler: &str, topic: &str) {
    tracing::warn!(
        target: "ferromqtt",
        handler,
        topic,
        "an exactly-once handler may have handled a message twice: the server may have lost the session and not said so, and uses the Packet Identifier of a message that was not released"
    );
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn dead_letter(_handler: &str, _topic: &str, _error: &str) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn not_qos_2(_handler: &str, _topic: &str) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn handled_in_doubt(_handler: &str, _topic: &str) {}

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
