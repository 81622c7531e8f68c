//! Why an exactly-once handler has stopped.

use thiserror::Error;

use crate::{SubscribeError, TopicFilter};

/// Why [`ExactlyOnce::run`](crate::ExactlyOnce::run) has ended. `S` is what the database fails with, `H` what the handler does.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnceError<S, H> {
    /// The database has failed. The batch is rolled back, and no message of it is acknowledged. If the commit itself has
    /// failed, it may have happened: the rows know.
    #[error(
        "the database of the exactly-once handler {handler} has failed to {what} (no message of the batch is acknowledged: they come again with the next connection)"
    )]
    Store {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// What it has failed to do.
        what: &'static str,
        /// What the driver says.
        #[source]
        error: S,
    },
    /// The handler, or the function for its keys, has failed on a message at each try, with
    /// [`OnFailure::Stop`](crate::OnFailure::Stop). What it has done is rolled back, those before it are handled and acknowledged,
    /// and the message comes again with the next connection.
    #[error(
        "the exactly-once handler {handler} has failed{often} on a message to {topic}: {error} (it is not acknowledged, and comes again with the next connection; with OnFailure::DeadLetter it would go to a table, and the next one be handled)",
        often = times(*tries)
    )]
    Handler {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// The topic of the message.
        topic: String,
        /// How often it was tried.
        tries: u32,
        /// What the handler says. It need not be an `Error`: a text, or a `Box<dyn Error>`, will do. So it is no
        /// [`source`](std::error::Error::source), and its text is a part of this one's.
        error: H,
    },
    /// The key of a message is none that every database stores: it has to have 1 to 255 characters, and none may be U+0000. It
    /// counts as a failure of the handler, and is not tried again.
    #[error(
        "the exactly-once handler {handler} has a key for a message to {topic} that a database does not store: give 1 to 255 characters, and none that is U+0000 (with OnFailure::DeadLetter the message would go to a table, and the next one be handled)"
    )]
    Key {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// The topic of the message.
        topic: String,
    },
    /// A message does not have to be acknowledged, so the server does not send it again if the program dies.
    #[error(
        "the exactly-once handler {handler} gets a message to {topic} that it cannot acknowledge: subscribe with QoS 1 or 2 and Acknowledge::ByApplication, and publish with QoS 1 or 2"
    )]
    NotAcknowledged {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// The topic of the message.
        topic: String,
    },
    /// [`ExactlyOnce::run_by_identifier`](crate::ExactlyOnce::run_by_identifier) has found no subscription of its own.
    #[error(
        "the exactly-once handler {handler} finds no subscription to \"{filter}\": declare it with Options::subscription and DeclaredSubscription::exactly_once, and run it once"
    )]
    NotDeclared {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// What was to be taken.
        filter: TopicFilter,
    },
    /// The subscription was not made.
    #[error("the exactly-once handler {handler} has no subscription: {error}")]
    Subscribe {
        /// The [name](crate::ExactlyOnce::new) of the handler.
        handler: String,
        /// Why.
        #[source]
        error: SubscribeError,
    },
}

fn times(tries: u32) -> String {
    match tries {
        1 => String::new(),
        tries => format!(" {tries} times"),
    }
}

/// Options that an exactly-once handler without a key cannot work with
/// ([`DeclaredSubscription::exactly_once`](crate::DeclaredSubscription::exactly_once)). The caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidExactlyOnce {
    /// A filter has a QoS below 2.
    #[error(
        "the subscription of an exactly-once handler without a key needs QoS 2: at QoS 1 a Packet Identifier is free again after the acknowledgement"
    )]
    QoS,
    /// A filter begins with `$share/`.
    #[error(
        "the Shared Subscription of an exactly-once handler needs a key: the message that one program leaves comes to another under another Packet Identifier"
    )]
    Shared,
    /// The server would forget what is not acknowledged when the program ends.
    #[error(
        "an exactly-once handler needs a session that outlives the program: give CleanStart::Never, and on 5.0 a Session Expiry Interval above 0"
    )]
    Session,
    /// A server of MQTT 3.1 does not say whether it has lost the session.
    #[error("an exactly-once handler without a key needs MQTT 3.1.1 or 5.0")]
    Version,
    /// The connection was to be opened by a call that waits for the server.
    #[error(
        "an exactly-once handler without a key needs Connection::start: CONNECT waits until the handler has committed that it comes, and the handler begins when that has returned"
    )]
    Waits,
}
