//! What a handler is called with.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ferromqtt_proto::TopicTemplates;

use crate::{Message, TopicParams};

/// A [`Message`] for a handler of a [`Router`](crate::Router). It derefs to the message, and knows the templates of the
/// handler's [`Route`](crate::Route).
#[derive(Clone)]
pub struct RoutedMessage {
    message: Message,
    templates: Arc<TopicTemplates>,
}

impl RoutedMessage {
    pub(crate) const fn new(message: Message, templates: Arc<TopicTemplates>) -> Self {
        Self { message, templates }
    }

    /// What the levels of the topic are named by the [`TopicTemplate`](crate::TopicTemplate) of the route; of several, by the first that matches.
    /// Empty for a route of plain filters. It is computed at the call.
    ///
    /// ```no_run
    /// # fn example() -> Result<(), ferromqtt::Error> {
    /// use ferromqtt::{Router, TopicTemplate};
    ///
    /// let template: TopicTemplate = "room/{room}/temp".parse()?;
    /// let router = Router::new().on(template, |message| async move {
    ///     println!("{:?}: {}", message.params().get("room"), message.text()?);
    ///     Ok(())
    /// });
    /// # let _ = router;
    /// # Ok(()) }
    /// ```
    pub fn params(&self) -> TopicParams<'_> {
        self.templates.params(&self.message.topic)
    }

    pub(crate) const fn templates(&self) -> &Arc<TopicTemplates> {
        &self.templates
    }

    /// The message alone.
    pub fn into_message(self) -> Message {
        self.message
    }
}

impl Deref for RoutedMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl fmt::Debug for RoutedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoutedMessage").field(&self.message).finish()
    }
}
