//! What is subscribed to: a filter, or a template with the filter that it stands for.

use std::borrow::Cow;

use crate::{InvalidTopic, TopicFilter, TopicTemplate};

/// What [`Client::subscribe`](crate::Client::subscribe) subscribes to: a text or a [`TopicFilter`], or a [`TopicTemplate`], whose
/// names [`Messages::params`](crate::Messages::params) then knows.
///
/// A text is a filter, and braces in it are what they are. You need this type only where filters and templates stand side by
/// side:
///
/// ```no_run
/// # async fn example(client: ferromqtt::Client) -> Result<(), ferromqtt::Error> {
/// use ferromqtt::{SubscriptionFilter, TopicFilter, TopicTemplate};
///
/// let room: TopicTemplate = "room/{room}/temp".parse()?;
/// let hall = TopicFilter::new("hall/temp")?;
/// let both: [SubscriptionFilter; 2] = [room.into(), hall.into()];
/// let mut temperatures = client.subscribe_all(both).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionFilter {
    pub(crate) filter: TopicFilter,
    /// One that has names.
    pub(crate) template: Option<TopicTemplate>,
}

impl SubscriptionFilter {
    /// The filter that the server is sent.
    pub const fn filter(&self) -> &TopicFilter {
        &self.filter
    }

    /// The template, if it is one that names levels.
    pub const fn template(&self) -> Option<&TopicTemplate> {
        self.template.as_ref()
    }
}

impl From<TopicTemplate> for SubscriptionFilter {
    fn from(template: TopicTemplate) -> Self {
        Self {
            filter: template.filter().clone(),
            template: Some(template).filter(|it| it.names().next().is_some()),
        }
    }
}

impl From<&TopicTemplate> for SubscriptionFilter {
    fn from(template: &TopicTemplate) -> Self {
        template.clone().into()
    }
}

impl From<TopicFilter> for SubscriptionFilter {
    fn from(filter: TopicFilter) -> Self {
        let template = None;
        Self { filter, template }
    }
}

impl From<&TopicFilter> for SubscriptionFilter {
    fn from(filter: &TopicFilter) -> Self {
        filter.clone().into()
    }
}

macro_rules! of_text {
    ($($text:ty),+) => {$(
        impl TryFrom<$text> for SubscriptionFilter {
            type Error = InvalidTopic;

            fn try_from(text: $text) -> Result<Self, InvalidTopic> {
                TopicFilter::try_from(text).map(Self::from)
            }
        }
    )+};
}

of_text!(&str, String, &String, Cow<'_, str>);
