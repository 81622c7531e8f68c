//! One transaction of an exactly-once handler.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ferromqtt_engine::IdentifierDoubt;
use ferromqtt_proto::{JournalEntry, SessionChange};

use super::{DeadLetter, OnceStore};
use crate::Message;

/// Rows are looked for that are older than [`ExactlyOnce::keep_keys_for`](crate::ExactlyOnce::keep_keys_for) when so many were
/// inserted.
const FORGET_EVERY: usize = 100;
/// In place of an identifier: a CONNECT is on its way, or was when a program ended.
const CONNECTING: &str = "connecting";
const LONGEST_KEY: usize = 255;

/// What one transaction is about: changes of identifiers before messages, the messages, and changes behind them.
#[derive(Clone, Copy)]
pub(super) struct TransactionPart<'m> {
    pub(super) before: &'m [JournalEntry],
    pub(super) messages: &'m [Message],
    pub(super) behind: &'m [JournalEntry],
    /// The handler has failed on the first message at each try: it is a dead letter with this text.
    pub(super) dead: Option<&'m str>,
}

/// What is remembered from one transaction of a handler to the next.
#[derive(Clone, Debug)]
pub(super) struct HandlerRecord {
    /// The name of the handler in the tables.
    pub(super) name: String,
    /// How long rows are kept; `None` for identifiers, which go when the server has let go of them.
    pub(super) keep_keys_for: Option<Duration>,
    /// Rows since old ones were looked for.
    pub(super) inserted: usize,
    pub(super) doubt: IdentifierDoubt,
}

/// Why a message is not handled.
pub(super) enum HandlingFailure<H> {
    /// The user's code has failed.
    Handler(H),
    InvalidKey,
    NotAcknowledged,
}

/// Why a transaction was not committed.
pub(super) enum Stopped<S, H> {
    /// The message at this place has made it fail.
    At(usize, HandlingFailure<H>),
    /// The database has failed to do this.
    By(&'static str, S),
}

impl HandlerRecord {
    /// Handles messages in one transaction. Returns those that may have been handled before, in a session that is lost.
    pub(super) async fn commit<'m, S, H>(
        &mut self,
        store: &mut S,
        part: TransactionPart<'m>,
        identify: &mut impl FnMut(&Message) -> Result<Option<String>, HandlingFailure<H>>,
        handle: &mut impl AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    ) -> Result<Vec<&'m Message>, Stopped<S::Error, H>>
    where
        S: OnceStore,
    {
        let now = seconds((SystemTime::now().duration_since(UNIX_EPOCH)).unwrap_or_default());
        let begun = store.begin().await;
        let mut transaction = begun.map_err(failed("begin a transaction"))?;
        let doubt = self.doubt;
        let doubt = (self.apply::<S, H>(&mut transaction, part.before, now, doubt)).await?;
        let mut doubtful = Vec::new();
        let mut inserted = self.inserted;
        for (index, message) in part.messages.iter().enumerate() {
            if message.delivery.is_none() {
                return Err(Stopped::At(index, HandlingFailure::NotAcknowledged));
            }
            let dead = part.dead.filter(|_| index == 0);
            let key = match identify(message) {
                Ok(key) => key,
                Err(_) if dead.is_some() => None,
                Err(failure) => return Err(Stopped::At(index, failure)),
            };
            if let Some(key) = &key {
                if self.remember::<S, H>(&mut transaction, key, now).await? {
                    inserted += 1;
                } else if doubt.covers(message.dup) {
                    doubtful.push(message);
                } else {
                    continue;
                }
            }
            if let Some(error) = dead {
                let letter = DeadLetter {
                    handler: &self.name,
                    key: key.as_deref().filter(|_| self.keep_keys_for.is_some()),
                    message,
                    error,
                    failed_at: now,
                };
                let buried = S::bury(&mut transaction, &letter).await;
                buried.map_err(failed("insert a dead letter"))?;
            } else if let Err(error) = handle(message, &mut transaction).await {
                return Err(Stopped::At(index, HandlingFailure::Handler(error)));
            }
        }
        let doubt = (self.apply::<S, H>(&mut transaction, part.behind, now, doubt)).await?;
        let forgets = self.keep_keys_for.filter(|_| inserted >= FORGET_EVERY);
        if let Some(time) = forgets {
            let before = now - seconds(time);
            let most = i64::try_from(2 * inserted).unwrap_or(i64::MAX);
            let forgotten = S::forget(&mut transaction, &self.name, before, most).await;
            forgotten.map_err(failed("delete old keys"))?;
            inserted = 0;
        }
        S::commit(transaction).await.map_err(failed("commit"))?;
        self.inserted = inserted;
        self.doubt = doubt;
        Ok(doubtful)
    }

    /// Puts on record what has become of identifiers. Returns what is in doubt then.
    async fn apply<S: OnceStore, H>(
        &self,
        transaction: &mut S::Transaction<'_>,
        changes: &[JournalEntry],
        now: i64,
        mut doubt: IdentifierDoubt,
    ) -> Result<IdentifierDoubt, Stopped<S::Error, H>> {
        let mut released = Vec::new();
        for entry in changes {
            if let SessionChange::Released { packet_id } = entry.change {
                released.push(packet_id.get().to_string());
                continue;
            }
            self.release::<S, H>(transaction, Some(&released)).await?;
            released.clear();
            match entry.change {
                SessionChange::Connecting => {
                    let is_new = self.remember::<S, H>(transaction, CONNECTING, now).await?;
                    doubt = doubt.connecting(is_new);
                }
                SessionChange::SessionLost { .. } => {
                    self.release::<S, H>(transaction, None).await?;
                    doubt = IdentifierDoubt::default();
                }
                SessionChange::Resumed => {
                    if let Some(resumed) = doubt.resumed() {
                        let connecting = [CONNECTING.to_owned()];
                        self.release::<S, H>(transaction, Some(&connecting)).await?;
                        doubt = resumed;
                    }
                }
                _ => {} // of messages that are sent: not in this row
            }
        }
        self.release::<S, H>(transaction, Some(&released)).await?;
        Ok(doubt)
    }

    async fn remember<S: OnceStore, H>(
        &self,
        transaction: &mut S::Transaction<'_>,
        key: &str,
        now: i64,
    ) -> Result<bool, Stopped<S::Error, H>> {
        let remembered = S::remember(transaction, &self.name, key, now).await;
        remembered.map_err(failed("insert the row that remembers a message"))
    }

    async fn release<S: OnceStore, H>(
        &self,
        transaction: &mut S::Transaction<'_>,
        keys: Option<&[String]>,
    ) -> Result<(), Stopped<S::Error, H>> {
        if keys.is_some_and(<[String]>::is_empty) {
            return Ok(());
        }
        let released = S::release(transaction, &self.name, keys).await;
        released.map_err(failed("delete the identifiers of messages"))
    }
}

/// A key that each database stores as it is.
pub(super) fn checked<H>(key: String) -> Result<Option<String>, HandlingFailure<H>> {
    let is_valid = !key.is_empty() && !key.contains('\0') && key.chars().nth(LONGEST_KEY).is_none();
    match is_valid {
        true => Ok(Some(key)),
        false => Err(HandlingFailure::InvalidKey),
    }
}

fn failed<S, H>(what: &'static str) -> impl FnOnce(S) -> Stopped<S, H> {
    move |error| Stopped::By(what, error)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
