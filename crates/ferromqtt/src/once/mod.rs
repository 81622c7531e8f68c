//! Handlers that handle each message exactly once, in a transaction of the application's database.

mod batch;
mod error;
mod identifiers;
mod store;
mod transaction;

use std::fmt::Display;
use std::time::Duration;

use ferromqtt_engine::{IdentifierDoubt, PendingChanges};

pub use error::{InvalidExactlyOnce, OnceError};
pub use store::{DeadLetter, OnceStore};

use crate::{Client, Message, Messages, QoS, SubscribeError, TopicFilter, log};
use batch::Handling;
use identifiers::{KeptStream, identifier, name_of_record};
use transaction::{HandlerRecord, HandlingFailure, checked};

/// What becomes of a message whose handler has failed at each try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// The handler stops: what came before the message is committed and acknowledged, the message is not, and comes again with the
    /// next connection. The default: a mistake in the handler, or a table that is missing, fails for each message.
    #[default]
    Stop,
    /// The message goes to the table of dead letters by [`OnceStore::bury`], in the transaction in which the row that remembers it
    /// is inserted. It is acknowledged and counts as handled. The log has an error (feature `tracing`).
    DeadLetter,
}

/// Handles each message of a stream once: the handler's work and the row that remembers the message are committed in one transaction,
/// and the message is acknowledged after that.
///
/// A message that comes again, since the program or the connection has died in between, finds its row: it is
/// acknowledged without being handled. Messages that wait share a transaction, up to [`batch`](Self::batch) of them.
///
/// It needs a session that the server keeps ([`CleanStart::Never`](crate::CleanStart::Never), a Client Identifier and a Session
/// Expiry Interval), a queue whose messages the application acknowledges
/// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)), and QoS 1 or 2. [`run`](Self::run) tells messages apart by a key that
/// their publisher has given them, and [`run_by_identifier`](Self::run_by_identifier) those of QoS 2 by their Packet Identifiers.
/// [Exactly-once handlers](https://github.com/ferromqtt/ferromqtt/blob/main/docs/exactly-once.md)
/// has what the guarantee needs, and where it ends.
///
/// # When a handler fails
/// The transaction is rolled back. What was before the message is handled again without it, and committed. The message is tried
/// again at once, in a transaction of its own beginning, up to [`retries`](Self::retries) times. Then
/// [`on_failure`](Self::on_failure) decides.
#[derive(Clone, Debug)]
pub struct ExactlyOnce {
    name: String,
    batch: usize,
    keep_keys_for: Duration,
    retries: u32,
    on_failure: OnFailure,
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
            retries: 2,
            on_failure: OnFailure::Stop,
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

    /// For how long rows with keys are kept, to the second. It must be longer than a message can be on its way, from the first time that it is
    /// published to the last one. Default: a week.
    #[must_use]
    pub const fn keep_keys_for(mut self, time: Duration) -> Self {
        self.keep_keys_for = time;
        self
    }

    /// How often a handler that has failed on a message is called again, at once. Default: 2, so three calls in all.
    #[must_use]
    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// What becomes of a message whose handler has failed at each try. Default: [`OnFailure::Stop`].
    #[must_use]
    pub const fn on_failure(mut self, choice: OnFailure) -> Self {
        self.on_failure = choice;
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
        messages: &mut Messages,
        store: &mut S,
        mut key: impl FnMut(&Message) -> Result<String, H>,
        mut handle: impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<(), OnceError<S::Error, H>>
    where
        S: OnceStore,
        H: Display,
    {
        let (key, handle) = (&mut key, &mut handle);
        while let Some(_handled) =
            (self.handle_next(messages, store, &mut *key, &mut *handle)).await?
        {}
        Ok(())
    }

    /// Waits for messages, handles those that are there in one transaction, and acknowledges them. Returns how many they were,
    /// those that were handled before included, or `None` when the stream has ended.
    ///
    /// `key` returns what identifies a message, the same for one that its publisher sends twice: 1 to 255 characters. What it fails
    /// with counts as a failure of the handler. `handle` changes the database
    /// through the transaction alone, and leaves its end and acknowledging alone. It may be called more than once for a message whose
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
        messages: &mut Messages,
        store: &mut S,
        mut key: impl FnMut(&Message) -> Result<String, H>,
        handle: impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<Option<usize>, OnceError<S::Error, H>>
    where
        S: OnceStore,
        H: Display,
    {
        let Some(first) = messages.next().await else {
            return Ok(None);
        };
        let batch = take_batch(first, messages, self.batch);
        let mut record = HandlerRecord {
            name: self.name.clone(),
            keep_keys_for: Some(self.keep_keys_for),
            inserted: self.inserted,
            doubt: IdentifierDoubt::default(),
        };
        let mut handling = Handling {
            once: &*self,
            record: &mut record,
            shared: &messages.shared,
            ledger: None,
            store,
            identify: |message: &Message| match key(message) {
                Ok(key) => checked(key),
                Err(error) => Err(HandlingFailure::Handler(error)),
            },
            handle,
        };
        let handled = handling.run(&batch, &PendingChanges::default()).await;
        self.inserted = record.inserted;
        handled?;
        Ok(Some(batch.len()))
    }

    /// Handles messages of QoS 2 without a key, until the connection has ended for good: the database remembers them under their
    /// Packet Identifiers, from the handler's commit until the server has let go of the identifier.
    ///
    /// `filter` is one of a subscription that the options have [declared](crate::Options::subscription), marked by
    /// [`exactly_once`](crate::DeclaredSubscription::exactly_once). Run it at once when
    /// [`Connection::start`](crate::Connection::start) has returned: the client waits for its commits, before CONNECT too, and gives
    /// up connecting after [`connect_timeout`](crate::Options::connect_timeout). The session belongs to the handler: a program that
    /// takes its messages in another way leaves rows behind that may hide messages later.
    ///
    /// A message of QoS 1 is handled without a row, so perhaps more than once, and the log warns of that once.
    ///
    /// # Errors
    /// As for [`run`](Self::run); [`OnceError::NotDeclared`] and [`OnceError::Subscribe`] if there is no such subscription. Then
    /// disconnect: without its handler the client goes on waiting.
    ///
    /// # Cancel safety
    /// The transaction at work is rolled back, and the stream is gone: to go on, connect again. To stop between two batches,
    /// [disconnect](crate::Connection::disconnect), which lets this return.
    ///
    /// ```no_run
    /// # async fn example<S: ferromqtt::OnceStore>(mut store: S) -> Result<(), Box<dyn std::error::Error>> {
    /// use ferromqtt::{CleanStart, Connection, DeclaredSubscription, ExactlyOnce, Options};
    ///
    /// let options = Options::new("localhost", 1883)
    ///     .client_identifier("logger")
    ///     .clean_start(CleanStart::Never)
    ///     .subscription(DeclaredSubscription::new("temperature").exactly_once());
    /// let connection = Connection::start(options).await?;
    /// ExactlyOnce::new("readings")
    ///     .run_by_identifier(&connection.client(), "temperature", &mut store, async |message, transaction| {
    ///         let _ = (message, transaction); // insert what it says
    ///         Ok::<_, std::fmt::Error>(())
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub async fn run_by_identifier<S, H, T>(
        &mut self,
        client: &Client,
        filter: T,
        store: &mut S,
        mut handle: impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<(), OnceError<S::Error, H>>
    where
        S: OnceStore,
        H: Display,
        T: TryInto<TopicFilter>,
        T::Error: Into<SubscribeError>,
    {
        let filter = filter.try_into();
        let filter = filter.map_err(|error| self.not_subscribed(error.into()))?;
        let stream = KeptStream::take(&client.shared, &filter);
        let Some(mut stream) = stream else {
            let handler = self.name.clone();
            return Err(OnceError::NotDeclared { handler, filter });
        };
        let mut record = HandlerRecord {
            name: name_of_record(&client.client_identifier(), &self.name),
            keep_keys_for: None,
            inserted: 0,
            doubt: IdentifierDoubt::default(),
        };
        let mut has_warned = false;
        loop {
            let next = stream.next(self.batch).await;
            let Some(next) = next.map_err(|error| self.not_subscribed(error))? else {
                return Ok(());
            };
            let below = next.messages.iter().find(|it| it.qos != QoS::ExactlyOnce);
            if let Some(message) = below.filter(|_| !has_warned) {
                has_warned = true;
                log::not_qos_2(&self.name, &message.topic);
            }
            let mut handling = Handling {
                once: &*self,
                record: &mut record,
                shared: &stream.shared,
                ledger: Some(stream.ledger),
                store: &mut *store,
                identify: |message: &Message| Ok(identifier(message)),
                handle: &mut handle,
            };
            handling.run(&next.messages, &next.changes).await?;
        }
    }

    fn not_subscribed<S, H>(&self, error: SubscribeError) -> OnceError<S, H> {
        OnceError::Subscribe {
            handler: self.name.clone(),
            error,
        }
    }
}

/// A message, and those behind it that are there already, up to so many.
fn take_batch(first: Message, messages: &mut Messages, most: usize) -> Vec<Message> {
    let mut batch = vec![first];
    while batch.len() < most
        && let Some(next) = messages.try_next()
    {
        batch.push(next);
    }
    batch
}
