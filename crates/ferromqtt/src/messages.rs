//! Received messages as a stream.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ferromqtt_engine::ReaderId;
use ferromqtt_proto::{QueueId, TopicTemplates};
use futures_core::Stream;

use crate::shared::{Burst, Shared};
use crate::state::SharedState;
use crate::subscribe::unsubscribe_queue;
use crate::{FilterRefusal, FilterResult, Message, QoS, SubscribeError, TopicFilter, TopicParams};

/// The messages of one subscription, in order of arrival; or those that no subscription asked for
/// ([`Client::messages`](crate::Client::messages)).
///
/// It is a [`Stream`], and has [`next`](Self::next) of its own. It ends when the connection has ended for good and every
/// message is taken; a connection that is lost and made again does not end it.
///
/// Messages wait in a queue with [bounds](crate::QueueOptions), and are acknowledged when they arrive there. A full queue
/// makes the server wait ([`Overflow::Wait`](crate::Overflow::Wait), the default): a stream that is read more slowly than
/// messages come loses none of QoS 1 and 2, and none of QoS 0 while no operation of the connection waits for an answer. That
/// holds up the connection's other streams as well, so read each stream in a task that gets round to it, or give it
/// [another policy](crate::Overflow). A server that cannot write may drop what it has for this client: mosquitto 2.0 does so
/// beyond `max_queued_messages` (1,000), with QoS 0 messages and also with the answers that calls wait for. Where QoS 0 comes
/// faster than it is read for long, drop the oldest instead
/// ([`Overflow::DropOldest`](crate::Overflow::DropOldest)). A stream that nobody polls for 5 s holds up no QoS 0 messages any more, and loses
/// those that find its queue full.
///
/// A message shares the memory that was read into. [Detach](crate::Message::detach) one that you keep for long.
///
/// [`take_lost`](Self::take_lost) and [`ConnectionEvent::Lagged`](crate::ConnectionEvent::Lagged) report losses, and with
/// the feature `tracing` each stream's first one is logged as a warning.
///
/// # When it is dropped
/// With [`CleanStart::Never`](crate::CleanStart::Never) the session outlives the program, and so does the subscription:
/// dropping the stream [detaches](Self::detach) it, and only [`unsubscribe`](Self::unsubscribe) ends it. So a program that
/// ends, or whose task is aborted, misses nothing that is published meanwhile. What its queue had taken by then is
/// acknowledged and lost with the program, unless the application acknowledges
/// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)): then the server sends it again.
///
/// With any other the stream's end is the subscription's: the queue is closed, what was not taken is dropped, and the
/// filters that no other stream has are unsubscribed in the background. Messages that the application was to acknowledge
/// ([`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication)) are acknowledged then, or they would hold up those of
/// the other streams (MQTT-4.6.0-2): the server does not send them again.
/// [`ConnectionEvent::Lagged`](crate::ConnectionEvent::Lagged) says how many were lost like this.
///
/// Either way, messages not taken that came by a Shared Subscription (`$share/name/filter`) of other streams too go to these.
#[must_use = "dropping a stream of messages ends its subscription, unless the session outlives the program"]
pub struct Messages {
    pub(crate) shared: Arc<Shared>,
    queue: QueueId,
    /// Its wait for a message of the queue; one that is over, when it does not wait.
    reader: Option<ReaderId>,
    /// What was taken since this last let others run.
    taken: Burst,
    /// What SUBACK said to each filter; empty for the messages that no subscription asked for.
    pub(crate) results: Vec<(TopicFilter, FilterResult)>,
    /// Those that it was subscribed by, in the order given.
    pub(crate) templates: Arc<TopicTemplates>,
}

impl Messages {
    pub(crate) fn new(shared: Arc<Shared>, queue: QueueId) -> Self {
        Self {
            shared,
            queue,
            reader: None,
            taken: Burst::default(),
            results: Vec::new(),
            templates: Arc::default(),
        }
    }

    /// The next message; `None` when none will come any more: the connection has ended for good, each filter was
    /// [unsubscribed](crate::Client::unsubscribe) or [refused](Self::not_subscribed) by the server, or a queue with
    /// [`Overflow::Fail`](crate::Overflow::Fail) has overflown. In the last case the stream goes on behind the gap once
    /// [`take_lost`](Self::take_lost) has returned how many messages are lost.
    ///
    /// # Cancel safety
    /// A message is taken only when this completes: nothing is lost in `select!` or under a time limit.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|cx| self.poll_message(cx.waker())).await
    }

    /// A message that is already there, without waiting.
    pub fn try_next(&mut self) -> Option<Message> {
        self.take(&mut self.shared.lock())
    }

    /// A message that is already there, if the lock is free too.
    #[cfg(feature = "blocking")]
    pub(crate) fn take_now(&self) -> Option<Message> {
        self.take(&mut *self.shared.try_lock()?)
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        (self.shared).read(|engine| engine.core().queue_len(self.queue))
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The filters that could not be subscribed again after the server had lost the session, and why: no message comes for them
    /// any more, and the stream ends when none is left. Subscribe again, if that can help.
    pub fn not_subscribed(&self) -> Vec<(TopicFilter, FilterRefusal)> {
        (self.shared).read(|engine| engine.not_subscribed(self.queue).to_vec())
    }

    /// How many messages the full queue has lost since the last call. With [`Overflow::Fail`](crate::Overflow::Fail) that is
    /// known when all before the gap has been taken.
    pub fn take_lost(&mut self) -> u64 {
        (self.shared).read(|engine| engine.take_lost(self.queue))
    }

    /// What the levels of a message's topic are named by the [`TopicTemplate`](crate::TopicTemplate) that was subscribed to; of
    /// several, by the first that matches. Empty without one. It is computed here, so a stream that nobody asks costs nothing.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
    /// use ferromqtt::TopicTemplate;
    ///
    /// let template: TopicTemplate = "room/{room}/temp".parse()?;
    /// let mut temperatures = client.subscribe(template).await?; // to room/+/temp
    /// while let Some(message) = temperatures.next().await {
    ///     let params = temperatures.params(&message);
    ///     println!("{:?}: {:?}", params.get("room"), message.payload);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn params<'a>(&'a self, message: &'a Message) -> TopicParams<'a> {
        self.templates.params(&message.topic)
    }

    /// What the server has said to each filter: the QoS that it has granted, which may be less than what was asked for
    /// (MQTT-3.8.4-7), or with [`Subscribe::partial`](crate::Subscribe::partial) an error. Empty for
    /// [`Client::messages`](crate::Client::messages).
    pub fn results(&self) -> &[(TopicFilter, FilterResult)] {
        &self.results
    }

    /// The QoS that the server has granted: the highest, when there are several filters. 0 for
    /// [`Client::messages`](crate::Client::messages).
    pub fn granted_qos(&self) -> QoS {
        (self.results.iter())
            .filter_map(|(_, result)| result.granted_qos())
            .max()
            .unwrap_or_default()
    }

    /// Ends the subscription, also with [`CleanStart::Never`](crate::CleanStart::Never), and waits until the server has
    /// confirmed it. Messages not taken are dropped, also when this fails or is dropped itself; those that the application
    /// was to acknowledge are reported as [`ConnectionEvent::Lagged`](crate::ConnectionEvent::Lagged). What another stream has
    /// subscribed to as well stays subscribed for it, and if that is a Shared Subscription, its messages go to that stream.
    ///
    /// # Errors
    /// As [`Client::unsubscribe`](crate::Client::unsubscribe).
    ///
    /// # Cancel safety
    /// Dropped, it goes on in the background.
    pub async fn unsubscribe(self) -> Result<(), SubscribeError> {
        unsubscribe_queue(&self.shared, self.queue).await // the default queue stays
    }

    /// Ends the stream, but not the subscription: the server keeps it in the session. What dropping the stream does with
    /// [`CleanStart::Never`](crate::CleanStart::Never).
    ///
    /// Messages not taken, and those of QoS 1 and 2 that come from now on and that no other stream wants, wait for the next
    /// stream that subscribes to their filter, in this connection or the next: it gets them in order, and acknowledges them
    /// in its own way. What nobody has claimed [in time](crate::Options::claim_within) goes to
    /// [`Client::messages`](crate::Client::messages), within [its bounds](crate::Options::incoming); all of it at once when
    /// that has been called before. Those of a Shared Subscription that other streams have too go to these instead.
    ///
    /// Messages that the application is to acknowledge stay unacknowledged and keep their
    /// [`delivery`](crate::Message::delivery) there: the server sends them again in a later connection of the session. As
    /// long as this one lasts they hold up acknowledgements that come behind them (MQTT-4.6.0-2), so a program that goes on
    /// subscribes again, or takes and acknowledges them there.
    pub fn detach(self) {
        (self.shared).call(|state, now| state.engine.detach_queue(now, self.queue)); // `drop` finds nothing left to do
    }

    /// Takes a message. That may let an acknowledgement go, which the driver has to write, and may have it read on.
    fn take(&self, state: &mut SharedState) -> Option<Message> {
        let (message, goes_on) = state.engine.take_and_go_on(self.queue);
        if goes_on {
            self.call_driver(state);
        }
        message
    }

    /// Calls the driver, which has something to write, or may read on.
    #[cold]
    fn call_driver(&self, state: &mut SharedState) {
        if state.call_driver() {
            self.shared.wake_driver();
        }
    }

    fn poll_message(&mut self, waker: &Waker) -> Poll<Option<Message>> {
        if self.taken.is_over() {
            // A loop over messages that are all there must not starve the thread's other tasks.
            self.taken = Burst::default();
            waker.wake_by_ref();
            return Poll::Pending;
        }
        let mut state = self.shared.lock();
        let message = self.take(&mut state);
        if let Some(taken) = &message {
            self.taken.add(1, taken.memory_size());
            return Poll::Ready(message);
        }
        if state.engine.is_over(self.queue) {
            drop(state);
            self.taken.add(1, 0); // also one who asks again and again
            return Poll::Ready(None);
        }
        let engine = &mut state.engine;
        let former = match self.reader.and_then(|reader| engine.reader_mut(reader)) {
            Some(current) if current.will_wake(waker) => None,
            Some(current) => Some(mem::replace(current, waker.clone())),
            None => {
                self.reader = Some(engine.wait(self.queue, |_| waker.clone()));
                None
            }
        };
        drop(state);
        drop(former); // not under the lock: whose waker it is, is not known
        Poll::Pending
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.poll_message(cx.waker())
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if self.shared.has_forked() {
            return; // the queue is the parent's
        }
        let waker = self.shared.call(|state, now| {
            let waker = (self.reader).and_then(|reader| state.engine.stop_waiting(reader));
            state.engine.drop_queue(now, self.queue); // the default queue stays
            waker
        });
        drop(waker); // not under the lock
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filters = self.results.iter().map(|(filter, _)| filter.as_str());
        f.debug_struct("Messages")
            .field("filters", &filters.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
