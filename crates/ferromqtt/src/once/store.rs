//! What a database is to exactly-once handlers.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;

use crate::Message;

/// A database that remembers which messages are handled: what [`ExactlyOnce`](crate::ExactlyOnce) needs of it.
///
/// It is the application's own database, through its own connection, so that what a handler changes and the row that remembers its
/// message are committed together. The tables are the application's affair too:
///
/// ```sql
/// CREATE TABLE handled (
///     handler TEXT NOT NULL,
///     message_key TEXT NOT NULL,
///     handled_at INTEGER NOT NULL,
///     PRIMARY KEY (handler, message_key)
/// );
/// CREATE TABLE dead_letters (
///     handler TEXT NOT NULL,
///     message_key TEXT,
///     topic TEXT NOT NULL,
///     payload BLOB NOT NULL,
///     error TEXT NOT NULL,
///     failed_at INTEGER NOT NULL
/// );
/// ```
///
/// Implement it for the connection of a driver, or for a type that has one; `examples/rust/exactly_once.rs` does so for
/// rusqlite, and `examples/rust/exactly_once_sqlx.rs` for sqlx. The futures of a driver without `async` are ready at once. Methods of an implementation name the type of a transaction
/// as `Self::Transaction<'_>`: with the type itself the compiler does not take their lifetimes for those of the trait.
pub trait OnceStore: 'static {
    /// A transaction. Dropped without [`commit`](Self::commit), it has to be rolled back.
    type Transaction<'s>;

    /// What the driver fails with.
    type Error: StdError + Send + Sync + 'static;

    /// Begins a transaction that may write. SQLite wants `BEGIN IMMEDIATE`: a transaction that becomes a writer later is refused
    /// without waiting when another one writes.
    fn begin(&mut self) -> impl Future<Output = Result<Self::Transaction<'_>, Self::Error>>;

    /// Inserts the row that remembers a message, which is inserted at `now` (seconds since 1970). Returns whether it is new. Where another
    /// transaction has inserted the same row and is not over, it has to wait for its end: `INSERT ... ON CONFLICT DO NOTHING`.
    fn remember(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        key: &str,
        now: i64,
    ) -> impl Future<Output = Result<bool, Self::Error>>;

    /// Deletes at most `most` rows of a handler that were inserted before a time, in seconds since 1970. Called with every hundredth row or so.
    fn forget(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        before: i64,
        most: i64,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Deletes the rows of a handler that have these keys; `None` is all of its rows. A row that is not there is no error. Only
    /// handlers [without a key](crate::ExactlyOnce::run_by_identifier) call it: the keys are Packet Identifiers whose messages the
    /// server has let go of.
    fn release(
        transaction: &mut Self::Transaction<'_>,
        handler: &str,
        keys: Option<&[String]>,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Inserts the row of a message whose handler has failed at each try. Only handlers with
    /// [`OnFailure::DeadLetter`](crate::OnFailure::DeadLetter) call it.
    fn bury(
        transaction: &mut Self::Transaction<'_>,
        letter: &DeadLetter<'_>,
    ) -> impl Future<Output = Result<(), Self::Error>>;

    /// Commits the transaction.
    fn commit(transaction: Self::Transaction<'_>) -> impl Future<Output = Result<(), Self::Error>>;

    /// Whether a transaction has failed only for another one that ran beside it: a deadlock, or a serialization failure
    /// (`SQLSTATE` of class 40). The batch is begun again then, three times in all. Default: never.
    fn may_try_again(error: &Self::Error) -> bool {
        let _ = error;
        false
    }
}

/// A message whose handler has failed at each try, for the table of dead letters.
///
/// `Debug` shows neither key nor error: they may hold what the message says.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct DeadLetter<'m> {
    /// The name of the handler, as it stands in the table of handled messages.
    pub handler: &'m str,
    /// What identifies the message; `None` without a valid key, and from a handler without keys.
    pub key: Option<&'m str>,
    /// The message: topic, payload, QoS and properties.
    pub message: &'m Message,
    /// What the handler has returned at its last try, as text of at most 2,000 characters, none of which is U+0000.
    pub error: &'m str,
    /// Seconds since 1970.
    pub failed_at: i64,
}

impl fmt::Debug for DeadLetter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("handler", &self.handler)
            .field("message", &self.message)
            .field("failed_at", &self.failed_at)
            .finish_non_exhaustive()
    }
}
