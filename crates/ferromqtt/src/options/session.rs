//! Options for the session, its subscriptions and its messages.

use std::time::Duration;

use super::Options;
use crate::numbers::whole_seconds;
use crate::{CleanStart, DeclaredSubscription, OnSessionLost, QueueOptions, TopicName};

/// # Session, subscriptions and messages
impl Options {
    /// Clean Start (5.0) or Clean Session (3.x). Default: [`CleanStart::FirstOnly`].
    ///
    /// With [`CleanStart::Never`] give a [Client Identifier](Self::client_identifier) too: a session is found by it. Without
    /// one the options are refused, on 5.0 too, since a name that the server chooses is unknown to the next
    /// [`Connection`](crate::Connection), and the session would be left behind. The subscriptions in it are kept
    /// when their streams are dropped, and end by [`Messages::unsubscribe`](crate::Messages::unsubscribe) or
    /// [`Client::unsubscribe`](crate::Client::unsubscribe). What the server has kept for the session comes to the streams
    /// that are [declared](Self::subscription), and to those that are subscribed [in time](Self::claim_within).
    #[must_use]
    pub const fn clean_start(mut self, clean_start: CleanStart) -> Self {
        self.core.clean_start = clean_start;
        self
    }

    /// Session Expiry Interval (5.0), in whole seconds: how long the server keeps the session without a connection.
    /// [`Duration::MAX`] is forever, and so are the 4,294,967,295 s that MQTT has for it; anything between, and a part of a
    /// second, is refused when connecting, as [`OptionsError::OutOfRange`](crate::OptionsError::OutOfRange).
    ///
    /// Default: one hour, and 0 with [`CleanStart::Always`]. With [`CleanStart::FirstOnly`] and no interval given here,
    /// disconnecting ends the session at once, since nobody would resume it.
    #[must_use]
    pub fn session_expiry_interval(mut self, interval: Duration) -> Self {
        let expected = "whole seconds up to 4294967294, or Duration::MAX, which is forever";
        let seconds = match interval {
            Duration::MAX => Some(u32::MAX),
            interval => whole_seconds(interval),
        };
        let option = "session_expiry_interval";
        if let Some(seconds) = self.refused.note(option, interval, seconds, expected) {
            self.core.properties.session_expiry_interval = Some(seconds);
        }
        self
    }

    /// Session Expiry Interval (5.0) for DISCONNECT, in whole seconds as for
    /// [`session_expiry_interval`](Self::session_expiry_interval): how long the server keeps the session once this client has
    /// left on purpose, while a connection that is lost leaves it for as long as that one says. [`Duration::ZERO`] ends the
    /// session with the connection.
    ///
    /// Refused when connecting: one above 0 where [`session_expiry_interval`](Self::session_expiry_interval) is 0, since the
    /// standard forbids to prolong a session that ends with its connection (section 3.14.2.2.2), as
    /// [`InvalidOptions::SessionExpiryRaised`](crate::InvalidOptions::SessionExpiryRaised); and any before 5.0.
    ///
    /// Default: that of `session_expiry_interval`, whose documentation says when it is 0.
    #[must_use]
    pub fn session_expiry_at_disconnect(mut self, interval: Duration) -> Self {
        let expected = "whole seconds up to 4294967294, or Duration::MAX, which is forever";
        let seconds = match interval {
            Duration::MAX => Some(u32::MAX),
            interval => whole_seconds(interval),
        };
        let option = "session_expiry_at_disconnect";
        if let Some(seconds) = self.refused.note(option, interval, seconds, expected) {
            self.core.session_expiry_at_disconnect = Some(seconds);
        }
        self
    }

    /// What becomes of a QoS 2 message on its way when the server has lost the session. Default:
    /// [`PublishError::SessionLost`](crate::PublishError::SessionLost), so that nothing comes twice.
    #[must_use]
    pub const fn on_session_lost(mut self, choice: OnSessionLost) -> Self {
        self.core.on_session_lost = choice;
        self
    }

    /// Declares a subscription, which is made as soon as the server has accepted the first connection. Its stream gets
    /// everything from the first message on, and [`Client::declared`](crate::Client::declared) takes it. In a session that
    /// outlives the program ([`CleanStart::Never`]) that includes all that the server has stored meanwhile.
    ///
    /// It is otherwise a subscription like any other: it is renewed when the server loses the session, and ends, or is
    /// detached, with its stream. When the server refuses it, [`declared`](crate::Client::declared) returns the error; if its
    /// stream has not been taken by then, [`ConnectionEvent::NotSubscribed`](crate::ConnectionEvent::NotSubscribed) reports
    /// it too. Messages fill the bounds of its queue from the start, so take each stream that you declare. Default: none.
    ///
    /// ```no_run
    /// use ferromqtt::{CleanStart, DeclaredSubscription, Error, Options, QoS};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let options = Options::new("localhost", 1883)
    ///     .client_identifier("worker")
    ///     .clean_start(CleanStart::Never)
    ///     .subscription(DeclaredSubscription::new("jobs/#").qos(QoS::AtLeastOnce));
    /// ferromqtt::scope(options, async |client| {
    ///     let mut jobs = client.declared("jobs/#").await?;
    ///     while let Some(job) = jobs.next().await {
    ///         println!("{}", job.topic);
    ///     }
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    #[must_use]
    pub fn subscription(mut self, subscription: DeclaredSubscription) -> Self {
        self.subscriptions.push(subscription);
        self
    }

    /// How long messages that no stream has asked for are held, unacknowledged, for a stream to claim them; `None` is forever.
    /// Default: 30 s.
    ///
    /// A session that the server resumes may bring messages before the program has subscribed. Those of QoS 1 and 2 are held
    /// until a stream [claims](crate::Client::subscribe) them: the first that subscribes to a matching filter gets them, in
    /// order of arrival, under the rules of its own queue. [`Client::messages`](crate::Client::messages) claims all. So are
    /// those for a stream that was [detached](crate::Messages::detach), until the next one. The time begins with the
    /// connection, or with detaching; a lost connection does not prolong it for a message that is held.
    ///
    /// What nobody has claimed then goes to [`Client::messages`](crate::Client::messages) and is acknowledged, because
    /// acknowledgements leave in order (MQTT-4.6.0-2): it would hold up all that came behind it.
    /// [`ConnectionEvent::Unclaimed`](crate::ConnectionEvent::Unclaimed) reports it. With `None` an unclaimed message holds
    /// up the others, until the server's window or our Receive Maximum is full and the server sends no more.
    ///
    /// Nothing is held in a session that was not resumed, nor at QoS 0, where there is no acknowledgement to withhold: such
    /// messages go to [`Client::messages`](crate::Client::messages) at once.
    #[must_use]
    pub fn claim_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.core.claim_within = limit.into();
        self
    }

    /// Bounds of the queue behind [`Client::messages`](crate::Client::messages), those messages included that are
    /// [held](Self::claim_within) for a stream. Default: [`QueueOptions::LATEST`], the latest 100,000 messages and 64 MiB,
    /// since a program need not read it, and one that [waits](crate::Overflow::Wait) and is not read would hold up every
    /// stream. A program that reads it and must not lose any gives [`QueueOptions::DEFAULT`].
    #[must_use]
    pub const fn incoming(mut self, bounds: QueueOptions) -> Self {
        self.core.incoming = bounds;
        self
    }

    /// Where the responses to [requests](crate::Client::request) are sent (5.0): a topic that no other client subscribes to.
    /// Default: one below the Response Information that the server gives, otherwise below `responses`, with a random name.
    #[must_use]
    pub fn response_topic(mut self, topic: TopicName) -> Self {
        self.core.response_topic = Some(topic);
        self
    }
}
