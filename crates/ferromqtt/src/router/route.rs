//! What a handler gets, and how.

use std::fmt;

use crate::subscribe::Subscribe;
use crate::terms::{Terms, subscribe_setters};
use crate::{Client, SubscribeError, SubscriptionFilter, TopicFilter, TopicTemplate};

/// The filters of a handler, and how their messages are subscribed to, kept and handled: for
/// [`Router::on`](crate::Router::on).
///
/// The options are those of [`Subscribe`], and [`concurrency`](Self::concurrency).
#[derive(Clone)]
#[must_use = "a route is for a handler of a Router"]
pub struct Route {
    terms: Terms,
    pub(super) concurrency: usize,
    pub(super) responds: bool,
}

impl Route {
    /// Messages to topics that match this filter.
    pub fn new<T>(filter: T) -> Self
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        Self {
            terms: Terms::new([filter.try_into().map_err(Into::into)]),
            concurrency: 1,
            responds: false,
        }
    }

    subscribe_setters! {
        terms:
        /// One more filter for the same handler, with a QoS or [`SubscriptionOptions`](crate::SubscriptionOptions) of its own: see [`Subscribe::and`].
        and;
        /// Bounds of the queue that messages wait in, and who acknowledges them: see [`Subscribe::queue`]. Default:
        /// [`QueueOptions::DEFAULT`](crate::QueueOptions::DEFAULT), beyond which the server waits.
        queue;
    }

    /// How many messages the handler works on at once, each in a task. Others wait in the [queue](Self::queue). Default: 1, one
    /// after the other, in order; 0 counts as 1.
    pub const fn concurrency(mut self, messages: usize) -> Self {
        self.concurrency = if messages == 0 { 1 } else { messages };
        self
    }

    pub(super) fn subscribe(self, client: Client) -> Subscribe {
        let subscribe = Subscribe::of_terms(client, self.terms);
        match self.responds {
            true => subscribe.of_requests(),
            false => subscribe,
        }
    }

    /// Its filters as a text, for logs.
    pub(super) fn names(&self) -> String {
        let filters = self.terms.filters().unwrap_or_default();
        let names: Vec<_> = filters.iter().map(|(filter, _)| filter.as_str()).collect();
        names.join(", ")
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("filters", &self.names())
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Route {
    fn from(filter: &str) -> Self {
        Self::new(filter)
    }
}

impl From<String> for Route {
    fn from(filter: String) -> Self {
        Self::new(filter)
    }
}

impl From<TopicTemplate> for Route {
    fn from(template: TopicTemplate) -> Self {
        Self::new(template)
    }
}

impl From<&TopicTemplate> for Route {
    fn from(template: &TopicTemplate) -> Self {
        Self::new(template)
    }
}

impl From<TopicFilter> for Route {
    fn from(filter: TopicFilter) -> Self {
        Self::new(filter)
    }
}
