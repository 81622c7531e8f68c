//! What a subscription asks for, and the setters of the builders that have it.

use ferromqtt_proto::{SubscriptionOptions, TopicTemplates};

use crate::{Properties, QoS, QueueOptions, SubscribeError, SubscriptionFilter, TopicFilter};

/// What is subscribed to, and how its messages are kept.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// `None` stands for the options that are common to all filters without their own.
    filters: Result<Vec<(TopicFilter, Option<SubscriptionOptions>)>, SubscribeError>,
    /// Those that some of the filters come of.
    pub(crate) templates: TopicTemplates,
    pub(crate) options: SubscriptionOptions,
    pub(crate) properties: Properties,
    pub(crate) queue: QueueOptions,
    /// They are requests: a responder's.
    pub(crate) of_requests: bool,
    pub(crate) partial: bool,
}

impl Terms {
    pub(crate) fn new(
        filters: impl IntoIterator<Item = Result<SubscriptionFilter, SubscribeError>>,
    ) -> Self {
        let mut templates = TopicTemplates::default();
        Self {
            filters: (filters.into_iter())
                .map(|filter| {
                    let SubscriptionFilter { filter, template } = filter?;
                    templates.extend(template);
                    Ok((filter, None))
                })
                .collect(),
            templates,
            options: QoS::AtMostOnce.into(),
            properties: Properties::default(),
            queue: QueueOptions::DEFAULT,
            of_requests: false,
            partial: false,
        }
    }

    pub(crate) fn add<T>(&mut self, filter: T, options: SubscriptionOptions)
    where
        T: TryInto<SubscriptionFilter>,
        T::Error: Into<SubscribeError>,
    {
        if let Ok(filters) = &mut self.filters {
            match filter.try_into() {
                Ok(SubscriptionFilter { filter, template }) => {
                    filters.push((filter, Some(options)));
                    self.templates.extend(template);
                }
                Err(error) => self.filters = Err(error.into()),
            }
        }
    }

    /// The filters, each with its options.
    pub(crate) fn filters(
        &self,
    ) -> Result<Vec<(TopicFilter, SubscriptionOptions)>, SubscribeError> {
        let filters = self.filters.clone()?;
        Ok((filters.into_iter())
            .map(|(filter, own)| (filter, own.unwrap_or(self.options)))
            .collect())
    }
}

/// Defines the setters of SUBSCRIBE's options for a builder whose [`Terms`] are at this path. The builders differ in what
/// `and`, `queue` and `partial` mean to them, and document these themselves.
macro_rules! subscribe_setters {
    (
        $($terms:ident).+:
        $(#[$and:meta])+ and;
        $(#[$queue:meta])+ queue;
        $(#[$partial:meta])+ partial;
    ) => {
        $crate::terms::subscribe_setters! {
            $($terms).+:
            $(#[$and])+ and;
            $(#[$queue])+ queue;
        }

        $(#[$partial])+
        pub const fn partial(mut self, partial: bool) -> Self {
            self.$($terms).+.partial = partial;
            self
        }
    };
    (
        $($terms:ident).+:
        $(#[$and:meta])+ and;
        $(#[$queue:meta])+ queue;
    ) => {
        $(#[$and])+
        pub fn and<T>(mut self, filter: T, options: impl Into<crate::SubscriptionOptions>) -> Self
        where
            T: TryInto<crate::SubscriptionFilter>,
            T::Error: Into<crate::SubscribeError>,
        {
            self.$($terms).+.add(filter, options.into());
            self
        }

        /// The QoS up to which the server may send; it may grant less. Default: 0.
        ///
        /// This and the other options of SUBSCRIBE are for the filters that have none of their own.
        pub const fn qos(mut self, qos: crate::QoS) -> Self {
            self.$($terms).+.options.qos = qos;
            self
        }

        /// No Local (5.0): what this client publishes does not come back. Default: `false`.
        pub const fn no_local(mut self, no_local: bool) -> Self {
            self.$($terms).+.options.no_local = no_local;
            self
        }

        /// Retain As Published (5.0): messages keep the RETAIN flag that they were published with. Default: `false`.
        pub const fn retain_as_published(mut self, keep: bool) -> Self {
            self.$($terms).+.options.retain_as_published = keep;
            self
        }

        /// Retain Handling (5.0): when the server sends what it retains. Default: at every subscription.
        pub const fn retain_handling(mut self, handling: crate::RetainHandling) -> Self {
            self.$($terms).+.options.retain_handling = handling;
            self
        }

        /// SUBSCRIBE properties (5.0): a Subscription Identifier, User Properties. Default: none.
        pub fn properties(mut self, properties: crate::Properties) -> Self {
            self.$($terms).+.properties = properties;
            self
        }

        $(#[$queue])+
        pub const fn queue(mut self, bounds: crate::QueueOptions) -> Self {
            self.$($terms).+.queue = bounds;
            self
        }
    };
}

pub(crate) use subscribe_setters;
