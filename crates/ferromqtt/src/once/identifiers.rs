//! Exactly-once handlers that know QoS 2 messages by their Packet Identifiers
//! (`docs/design/0065-identifiers-of-the-application.md`).

use std::sync::Arc;

use ferromqtt_engine::{CallEnd, PendingChanges};
use ferromqtt_proto::{JournalEntry, SessionChange};
use tokio::sync::{oneshot, watch};

use super::batch::HandlerIndex;
use crate::declared::take_kept;
use crate::shared::Shared;
use crate::subscribe::answered;
use crate::{Message, Messages, QoS, SubscribeError, TopicFilter};

/// The stream of a handler, from before the connection on, and what becomes of its identifiers.
pub(super) struct KeptStream {
    pub(super) shared: Arc<Shared>,
    pub(super) ledger: HandlerIndex,
    messages: Messages,
    changes: watch::Receiver<()>,
    subscription: KeptSubscription,
}

enum KeptSubscription {
    /// The server has not answered.
    Awaited {
        end: oneshot::Receiver<CallEnd>,
        filters: Vec<TopicFilter>,
        partial: bool,
    },
    Granted,
}

/// What there is to be committed.
pub(super) struct KeptBatch {
    pub(super) messages: Vec<Message>,
    pub(super) changes: PendingChanges,
}

impl KeptStream {
    pub(super) fn take(shared: &Arc<Shared>, filter: &TopicFilter) -> Option<Self> {
        let changes = shared.follow_identifier_changes();
        let (ledger, declared, pending) = take_kept(shared, filter)?;
        let mut messages = Messages::new(Arc::clone(shared), declared.queue);
        messages.templates = pending.templates.into();
        Some(Self {
            shared: Arc::clone(shared),
            ledger,
            messages,
            changes,
            subscription: KeptSubscription::Awaited {
                end: pending.end,
                filters: declared.filters,
                partial: pending.partial,
            },
        })
    }

    /// Waits for messages, up to so many, and for changes of identifiers. `None` when the stream has ended.
    pub(super) async fn next(&mut self, most: usize) -> Result<Option<KeptBatch>, SubscribeError> {
        // CONNECT waits for this one, which is not to wait for a handler that has only begun.
        let changes = self.changes();
        let holds_up = |entry: &JournalEntry| entry.change == SessionChange::Connecting;
        if changes.before.iter().any(holds_up) {
            let messages = Vec::new();
            return Ok(Some(KeptBatch { messages, changes }));
        }
        loop {
            let messages = match self.first().await? {
                KeptEvent::Ended => return Ok(None),
                KeptEvent::Changed => Vec::new(),
                KeptEvent::Message(first) => super::take_batch(*first, &mut self.messages, most),
            };
            let changes = self.changes();
            let is_empty = changes.before.is_empty() && changes.behind.is_empty();
            if !messages.is_empty() || !is_empty {
                return Ok(Some(KeptBatch { messages, changes }));
            }
        }
    }

    async fn first(&mut self) -> Result<KeptEvent, SubscribeError> {
        let Self {
            messages,
            changes,
            subscription,
            ..
        } = self;
        // A stream that was not subscribed yet has no end, except with its connection, which ends the subscription too.
        let mut may_come = true;
        loop {
            tokio::select! {
                biased; // no random number: the same program takes the same course
                answer = subscription.answer() => {
                    messages.results = answer?;
                    *subscription = KeptSubscription::Granted;
                    may_come = true;
                }
                message = messages.next(), if may_come => match message {
                    Some(message) => return Ok(KeptEvent::Message(Box::new(message))),
                    None if matches!(subscription, KeptSubscription::Granted) => return Ok(KeptEvent::Ended),
                    None => may_come = false,
                },
                _ = changes.changed() => return Ok(KeptEvent::Changed),
            }
        }
    }

    /// What is not committed of the changes so far. The end of a session, and what follows it, goes behind all messages of that
    /// session: these are all that there are until the client may subscribe.
    fn changes(&self) -> PendingChanges {
        let mut state = self.shared.lock();
        state.collect_identifier_changes();
        let mut changes = state.pending_identifier_changes(self.ledger);
        drop(state);
        if !self.messages.is_empty() {
            changes.behind.clear();
        }
        changes
    }
}

enum KeptEvent {
    Message(Box<Message>),
    Changed,
    Ended,
}

impl KeptSubscription {
    /// Waits for the server's answer; forever once it has come.
    async fn answer(&mut self) -> Result<Vec<(TopicFilter, crate::FilterResult)>, SubscribeError> {
        match self {
            Self::Granted => std::future::pending().await,
            Self::Awaited {
                end,
                filters,
                partial,
            } => {
                let end = end.await.unwrap_or(CallEnd::DriverGone);
                answered(end)?.granted(filters.clone(), *partial)
            }
        }
    }
}

/// The name of a handler in the table of handled messages. Identifiers mean nothing beside another client's, nor beside keys: the
/// length in front tells the Client Identifier from the name, whatever they hold.
pub(super) fn name_of_record(client_identifier: &str, name: &str) -> String {
    let length = client_identifier.len();
    format!("{length}:{client_identifier} {name} by Packet Identifier")
}

/// What identifies a message: nothing below QoS 2, where an identifier is free again after the acknowledgement.
pub(super) fn identifier(message: &Message) -> Option<String> {
    let packet_id = message
        .packet_id
        .filter(|_| message.qos == QoS::ExactlyOnce);
    packet_id.map(|packet_id| packet_id.get().to_string())
}
