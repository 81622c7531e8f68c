//! One batch of messages: as many transactions as it takes, and what becomes of a message that the handler fails on.

use std::fmt::Display;
use std::sync::Arc;

use ferromqtt_engine::PendingChanges;

use super::transaction::{HandlerRecord, HandlingFailure, Stopped, TransactionPart};
use super::{ExactlyOnce, OnFailure, OnceError, OnceStore};
use crate::shared::Shared;
use crate::{Message, log};

/// How often a transaction is begun that another one has made fail.
const TRIES: u32 = 3;
const LONGEST_ERROR: usize = 2_000;

/// The place of a handler among those of a connection that keep identifiers.
pub(super) type HandlerIndex = usize;

/// A handler at work.
pub(super) struct Handling<'a, S, I, F> {
    pub(super) once: &'a ExactlyOnce,
    pub(super) record: &'a mut HandlerRecord,
    pub(super) shared: &'a Arc<Shared>,
    /// Of a handler without a key.
    pub(super) ledger: Option<HandlerIndex>,
    pub(super) store: &'a mut S,
    pub(super) identify: I,
    pub(super) handle: F,
}

impl<S, I, F> Handling<'_, S, I, F>
where
    S: OnceStore,
{
    /// Handles a batch, and acknowledges what is committed.
    ///
    /// A transaction whose message fails is rolled back. What was before that message is handled again in a transaction without
    /// it. Then the message is the first one, and tried again, together with what is behind it.
    pub(super) async fn run<H>(
        &mut self,
        batch: &[Message],
        changes: &PendingChanges,
    ) -> Result<(), OnceError<S::Error, H>>
    where
        H: Display,
        I: FnMut(&Message) -> Result<Option<String>, HandlingFailure<H>>,
        F: AsyncFnMut(&Message, &mut S::Transaction<'_>) -> Result<(), H>,
    {
        let mut before = &changes.before[..];
        let (mut done, mut end) = (0, batch.len());
        let mut failing = (0, 0); // a message, and how often it has failed
        let mut dead: Option<String> = None;
        let mut beside = 0;
        loop {
            let part = TransactionPart {
                before,
                messages: &batch[done..end],
                behind: if end == batch.len() {
                    &changes.behind
                } else {
                    &[]
                },
                dead: dead.as_deref(),
            };
            let committed =
                (self.record).commit(&mut *self.store, part, &mut self.identify, &mut self.handle);
            match committed.await {
                Ok(doubtful) => {
                    for message in doubtful {
                        log::handled_in_doubt(&self.once.name, &message.topic);
                    }
                    self.let_go(part);
                    if end == batch.len() {
                        return Ok(());
                    }
                    (before, done, end, dead, beside) = (&[], end, batch.len(), None, 0);
                }
                Err(Stopped::By(_, error)) if beside + 1 < TRIES && S::may_try_again(&error) => {
                    beside += 1;
                }
                Err(Stopped::By(what, error)) => {
                    return Err(OnceError::Store {
                        handler: self.once.name.clone(),
                        what,
                        error,
                    });
                }
                Err(Stopped::At(index, failure)) => {
                    let index = done + index;
                    failing = match failing {
                        (same, tries) if same == index => (same, tries + 1),
                        _ => (index, 1),
                    };
                    if index > done {
                        end = index;
                        continue;
                    }
                    end = batch.len();
                    let message = &batch[done];
                    dead = self.give_up(message, failing.1, failure)?;
                    if let Some(error) = &dead {
                        log::dead_letter(&self.once.name, &message.topic, error);
                    }
                }
            }
        }
    }

    /// Decides what becomes of a message that has failed so often. Returns the text of a dead letter, or `None` if it is tried
    /// again.
    fn give_up<H: Display>(
        &self,
        message: &Message,
        tries: u32,
        failure: HandlingFailure<H>,
    ) -> Result<Option<String>, OnceError<S::Error, H>> {
        let handler = self.once.name.clone();
        let topic = message.topic.to_string();
        let buries = self.once.on_failure == OnFailure::DeadLetter;
        match failure {
            HandlingFailure::NotAcknowledged => Err(OnceError::NotAcknowledged { handler, topic }),
            HandlingFailure::InvalidKey if buries => Ok(Some("the key is not valid".to_owned())),
            HandlingFailure::InvalidKey => Err(OnceError::Key { handler, topic }),
            HandlingFailure::Handler(_) if tries <= self.once.retries => Ok(None),
            HandlingFailure::Handler(error) if buries => Ok(Some(storable(&error))),
            HandlingFailure::Handler(error) => Err(OnceError::Handler {
                handler,
                topic,
                tries,
                error,
            }),
        }
    }

    /// A transaction is committed: its messages are acknowledged, and what waits for its changes may leave.
    fn let_go(&self, part: TransactionPart<'_>) {
        let changes = part.behind.last().or_else(|| part.before.last());
        self.shared.call_untimed(|state| {
            for delivery in part.messages.iter().filter_map(|message| message.delivery) {
                state.engine.acknowledge(delivery);
            }
            if let (Some(ledger), Some(last)) = (self.ledger, changes) {
                state.confirm_identifier_changes(ledger, last.sequence);
            }
        });
    }
}

/// What an error says, as a text that every database stores.
fn storable(error: &impl Display) -> String {
    let text = error.to_string();
    let text = text.chars().take(LONGEST_ERROR);
    text.map(|character| match character {
        '\0' => char::REPLACEMENT_CHARACTER,
        other => other,
    })
    .collect()
}
