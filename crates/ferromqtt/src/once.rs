//! Handlers that handle each message exactly once, in a transaction of the application's database.

use std::error::Error as StdError;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::{Client, Message, Messages};

/// Rows are looked for that are older than [`ExactlyOnce::keep_keys_for`] when so many were inserted.
const FORGET_EVERY: usize = 100;

/// A database that remembers which messages are handled: what [`ExactlyOnce`] needs of it.
///
/// It is the application's own database, through its own connection, so that what a handler changes and the row that remembers its
/// message are committed together. The table is the application's affair too:
///
/// ```sql
/// CREATE TABLE handled (
///     handler TEXT NOT NULL,
///     message_key TEXT NOT NULL,
///     handled_at INTEGER NOT NULL,
///     PRIMARY KEY (handler, message_key)
/// );
/// ```
///
/// Implement it for the connection of a driver, or for a type that has one; `examples/rust/exactly_once.rs` does so for
/// rusqlite. The futures of a driver without `async` are ready at once. Methods of an implementation name the type of a transaction
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

    /// Commits the transaction.
    fn commit(transaction: Self::Transaction<'_>) -> impl Future<Output = Result<(), Self::Error>>;
}

/// Why [`ExactlyOnce::run`] has ended. `S` is what the database fails with, `H` what the handler does.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnceError<S, H> {
    /// The database has failed. The batch is rolled back, and no message of it is acknowledged. If the commit itself has
    /// failed, it may have happened: the rows know.
    #[error(
        "the database of the exactly-once handler {handler} has failed to {what} (no message of the batch is acknowledged: they come again with the next connection)"
    )]
    Store {
        /// The [name](ExactlyOnce::new) of the handler.
        handler: String,
        /// What it has failed to do.
        what: &'static str,
        /// What the driver says.
        #[source]
        error: S,
    },
    /// The handler has failed on a message. What it has done is rolled back, those before it are handled and acknowledged, and the
    /// message comes again with the next connection.
    #[error(
        "the exactly-once handler {handler} has failed on a message to {topic}: it is not acknowledged, and comes again with the next connection"
    )]
    Handler {
        /// The [name](ExactlyOnce::new) of the handler.
        handler: String,
        /// The topic of the message.
        topic: String,
        /// What the handler says.
        #[source]
        error: H,
    },
    /// A message does not have to be acknowledged, so the server does not send it again if the program dies.
    #[error(
        "the exactly-once handler {handler} gets a message to {topic} that it cannot acknowledge: subscribe with QoS 1 or 2 and Acknowledge::ByApplication, and publish with QoS 1 or 2"
    )]
    NotAcknowledged {
        /// The [name](ExactlyOnce::new) of the handler.
        handler: String,
        /// The topic of the message.
        topic: String,
    },
}

/// Handles each message of a stream once: the handler's work and the row that remembers the message are committed in one transaction,
/// and the message is acknowledged after that.
///
/// A message that comes again, since the program or the connection has died in between, finds its row: it is
/// acknowledged without being handled. Messages that wait share a transaction, up to [`batch`](Self::batch) of them.
///
/// It needs a session that the server keeps ([`CleanStart::Never`](crate::CleanStart::Never), a Client Identifier and a Session
/// Expiry Interval), a queue whose messages the application acknowledges
/// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)), and QoS 1 or 2. Messages are told apart by a key that
/// their publisher has given them. [Exactly-once handlers](https://github.com/ferromqtt/ferromqtt/blob/main/docs/exactly-once.md)
/// has what the guarantee needs, and where it ends.
#[derive(Clone, Debug)]
pub struct ExactlyOnce {
    name: String,
    batch: usize,
    keep_keys_for: Duration,
    /// Rows since old ones were looked for.
    inserted: usize,
}

impl ExactlyOnce {
    /// A handler by this name, which tells its rows from those of others in the same table. Keep it: under another name all that
    /// is remembered is forgotten. Programs that share the work of a Shared Subscription have the same one.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            batch: 100,
            keep_keys_for: Duration::from_secs(7 * 86_400),
            inserted: 0,
        }
    }

    /// How many messages share a transaction at most; 0 counts as 1. It never waits for more than are there. A transaction for
    /// each message is bound by the disk, and holds locks for the shortest time. Default: 100.
    #[must_use]
    pub fn batch(mut self, messages: usize) -> Self {
        self.batch = messages.max(1);
        self
    }

    /// For how long rows are kept, to the second. It must be longer than a message can be on its way, from the first time that it is
    /// published to the last one. Default: a week.
    #[must_use]
    pub fn keep_keys_for(mut self, time: Duration) -> Self {
        self.keep_keys_for = time;
        self
    }

    /// Handles the messages of a stream until it ends, batch by batch, as [`handle_next`](Self::handle_next) does.
    ///
    /// # Errors
    /// [`OnceError`] says what has failed. What was not committed is not acknowledged, and comes again with the next connection.
    ///
    /// # Cancel safety
    /// As for [`handle_next`](Self::handle_next).
    pub async fn run<S, H>(
        &mut self,
        client: &Client,
        messages: &mut Messages,
        store: &mut S,
        mut key: impl FnMut(&Message) -> String,
        mut handle: impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<(), OnceError<S::Error, H>>
    where
        S: OnceStore,
    {
        let (key, handle) = (&mut key, &mut handle);
        while let Some(_handled) =
            (self.handle_next(client, messages, store, &mut *key, &mut *handle)).await?
        {}
        Ok(())
    }

    /// Waits for messages, handles those that are there in one transaction, and acknowledges them. Returns how many they were,
    /// those that were handled before included, or `None` when the stream has ended.
    ///
    /// `key` returns what identifies a message, the same for one that its publisher sends twice. `handle` changes the database
    /// through the transaction alone, and leaves acknowledging alone. It may be called more than once for a message whose
    /// transaction was rolled back: what it does beside the transaction may happen again.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    ///
    /// # Cancel safety
    /// While it waits for messages nothing is lost. After that the transaction at work is rolled back, and its messages are not
    /// acknowledged: they come again with the next connection, and hold up the acknowledgements of others until then.
    pub async fn handle_next<S, H>(
        &mut self,
        client: &Client,
        messages: &mut Messages,
        store: &mut S,
        mut key: impl FnMut(&Message) -> String,
        mut handle: impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<Option<usize>, OnceError<S::Error, H>>
    where
        S: OnceStore,
    {
        let Some(first) = messages.next().await else {
            return Ok(None);
        };
        let mut batch = vec![first];
        while batch.len() < self.batch
            && let Some(next) = messages.try_next()
        {
            batch.push(next);
        }
        let mut failure = None;
        let mut good = &batch[..];
        while !good.is_empty() {
            match self.commit(good, store, &mut key, &mut handle).await {
                Ok(()) => break,
                // Those before it are handled again, in a transaction that it has no part in.
                Err(Stopped::At(index, error)) => {
                    good = &good[..index];
                    failure = Some(error);
                }
                Err(Stopped::By(error)) => return Err(error),
            }
        }
        let deliveries = good.iter().filter_map(|message| message.delivery);
        deliveries.for_each(|delivery| client.acknowledge(delivery));
        match failure {
            None => Ok(Some(batch.len())),
            Some(error) => Err(error),
        }
    }

    /// Handles messages in one transaction.
    async fn commit<S, H>(
        &mut self,
        messages: &[Message],
        store: &mut S,
        key: &mut impl FnMut(&Message) -> String,
        handle: &mut impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<(), Stopped<S::Error, H>>
    where
        S: OnceStore,
    {
        let name = self.name.clone();
        let failed = |what| {
            let name = name.clone();
            move |error| {
                Stopped::By(OnceError::Store {
                    handler: name,
                    what,
                    error,
                })
            }
        };
        let now = seconds(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        );
        let begun = store.begin().await;
        let mut transaction = begun.map_err(failed("begin a transaction"))?;
        let mut new = 0;
        for (index, message) in messages.iter().enumerate() {
            if message.delivery.is_none() {
                let error = self.not_acknowledged(message);
                return Err(Stopped::At(index, error));
            }
            let key = key(message);
            let remembered = S::remember(&mut transaction, &self.name, &key, now).await;
            if !remembered.map_err(failed("insert the row that remembers a message"))? {
                continue;
            }
            new += 1;
            if let Err(error) = handle(message, &mut transaction).await {
                let error = OnceError::Handler {
                    handler: self.name.clone(),
                    topic: message.topic.to_string(),
                    error,
                };
                return Err(Stopped::At(index, error));
            }
        }
        let due = self.inserted + new;
        if due >= FORGET_EVERY {
            let before = now - seconds(self.keep_keys_for);
            let most = i64::try_from(2 * due).unwrap_or(i64::MAX);
            let forgotten = S::forget(&mut transaction, &self.name, before, most).await;
            forgotten.map_err(failed("delete old keys"))?;
        }
        S::commit(transaction).await.map_err(failed("commit"))?;
        self.inserted = if due >= FORGET_EVERY { 0 } else { due };
        Ok(())
    }

    fn not_acknowledged<S, H>(&self, message: &Message) -> OnceError<S, H> {
        OnceError::NotAcknowledged {
            handler: self.name.clone(),
            topic: message.topic.to_string(),
        }
    }
}

/// Why a transaction was not committed.
enum Stopped<S, H> {
    /// The message at this place has made it fail.
    At(usize, OnceError<S, H>),
    /// The database has.
    By(OnceError<S, H>),
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
