//! Handlers of messages by filter.

mod route;
mod routed_message;
mod run;

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;

pub use self::route::Route;
pub use self::routed_message::RoutedMessage;
use self::run::{Running, attend, run, subscribe_all};
use crate::{Client, ConnectionError, IntoPayload, Message, RequestMessage, SubscribeError};

/// What a handler of a [`Router`] fails with: `?` makes it of any error.
pub type HandlerError = Box<dyn StdError + Send + Sync>;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Handler =
    Arc<dyn Fn(&Client, RoutedMessage) -> BoxFuture<Result<(), HandlerError>> + Send + Sync>;
type ErrorHandler = Arc<dyn Fn(HandlerError, Message) -> BoxFuture<()> + Send + Sync>;

/// A [`Router`] has ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouterError {
    /// A subscription was not made, or the server refused to renew it. Without any handler it is
    /// [`InvalidSubscribe::NoFilter`](crate::InvalidSubscribe::NoFilter).
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The connection has ended, and none follows.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
}

impl From<RouterError> for crate::Error {
    fn from(error: RouterError) -> Self {
        match error {
            RouterError::Subscribe(error) => error.into(),
            RouterError::Connection(error) => error.into(),
        }
    }
}

/// Handlers of messages, each for a filter of its own.
///
/// ```no_run
/// use ferromqtt::{Error, HandlerError, QoS, Route, RoutedMessage, Router};
///
/// async fn alarm(message: RoutedMessage) -> Result<(), HandlerError> {
///     println!("{}: {}", message.topic, message.text()?);
///     Ok(())
/// }
///
/// # async fn example(client: ferromqtt::Client) -> Result<(), Error> {
/// let router = Router::new()
///     .on("alarms/#", alarm)
///     .on(Route::new("room/+/temp").qos(QoS::AtLeastOnce).concurrency(4), |message| async move {
///         let celsius: f64 = message.text()?.parse()?;
///         println!("{}: {celsius}", message.topic);
///         Ok(())
///     })
///     .respond("square", |request| async move {
///         let number: i64 = request.text()?.parse()?;
///         Ok((number * number).to_string())
///     });
/// router.run(&client).await?;
/// # Ok(()) }
/// ```
///
/// Each handler has a subscription with a queue of its own, as of [`Client::subscribe`]: a message that matches the filters of
/// several handlers goes to each of them. One message is handled after the other, in order, unless
/// [`Route::concurrency`] says otherwise.
///
/// A handler that fails ends neither the router nor another handler: its error goes to [`on_error`](Self::on_error). One that
/// panics ends [`run`](Self::run), which panics with it.
///
/// # Acknowledging
/// In a queue with [`Acknowledge::ByApplication`](crate::Acknowledge::ByApplication) ([`Route::queue`]) the router acknowledges
/// a message when its handler has returned `Ok`. One whose handler has failed, or was dropped, stays unacknowledged, unless the
/// handler or `on_error` acknowledges it: it holds up those behind it until the connection ends, and comes again if the session
/// is kept.
#[derive(Clone, Default)]
#[must_use = "a router calls no handler before it runs"]
pub struct Router {
    handlers: Vec<(Route, Handler)>,
    on_error: Option<ErrorHandler>,
}

impl Router {
    /// A router without handlers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a handler. `route` is a filter, a [`TopicTemplate`](crate::TopicTemplate), whose names the handler reads by
    /// [`RoutedMessage::params`], or a [`Route`] where more is to be said. A filter that is none makes [`run`](Self::run) fail.
    pub fn on<F, R>(self, route: impl Into<Route>, handler: F) -> Self
    where
        F: Fn(RoutedMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.add(route.into(), move |_, message| Box::pin(handler(message)))
    }

    /// As [`on`](Self::on), for a handler that gets a clone of `state` with each message.
    ///
    /// ```no_run
    /// # struct Database;
    /// # impl Database { async fn store(&self, _: &str) -> Result<(), ferromqtt::HandlerError> { Ok(()) } }
    /// use std::sync::Arc;
    ///
    /// use ferromqtt::Router;
    ///
    /// let database = Arc::new(Database);
    /// let router = Router::new().on_with("room/+/temp", database, |message, database| async move {
    ///     database.store(message.text()?).await
    /// });
    /// ```
    pub fn on_with<S, F, R>(self, route: impl Into<Route>, state: S, handler: F) -> Self
    where
        S: Clone + Send + Sync + 'static,
        F: Fn(RoutedMessage, S) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on(route, move |message| handler(message, state.clone()))
    }

    /// Adds a handler of requests (5.0, section 4.10), which returns the payload of the response.
    ///
    /// The names of a template are in [`RequestMessage::params`]. One that fails leaves the request without a response. Messages that ask for no response are passed over, as by
    /// [`Client::responder`].
    pub fn respond<F, R, P>(mut self, route: impl Into<Route>, handler: F) -> Self
    where
        F: Fn(RequestMessage) -> R + Send + Sync + 'static,
        R: Future<Output = Result<P, HandlerError>> + Send + 'static,
        P: IntoPayload + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut route: Route = route.into();
        route.responds = true;
        self = self.add(route, move |client, message| {
            let handler = Arc::clone(&handler);
            let client = client.clone();
            Box::pin(async move {
                let asked = message.clone().into_message();
                let request = RequestMessage::admit(&client.shared, message.templates(), asked);
                if let Some(request) = request {
                    let payload = handler(request).await?;
                    client.respond(&message, payload).await?;
                }
                Ok(())
            })
        });
        self
    }

    /// Says what is called with the error and the message when a handler has failed. It runs before the handler's next
    /// message. By default the error is written to `tracing`, with the filter and the topic, if the feature `tracing` is on.
    pub fn on_error<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(HandlerError, Message) -> R + Send + Sync + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        self.on_error = Some(Arc::new(move |error, message| {
            Box::pin(handler(error, message))
        }));
        self
    }

    fn add<F>(mut self, route: Route, handler: F) -> Self
    where
        F: Fn(&Client, RoutedMessage) -> BoxFuture<Result<(), HandlerError>>
            + Send
            + Sync
            + 'static,
    {
        self.handlers.push((route, Arc::new(handler)));
        self
    }

    /// Subscribes for all handlers, and calls them until the subscriptions end.
    ///
    /// Handlers begin when the server has granted all subscriptions. A connection that is lost and made again does not end the
    /// router. When the connection has ended for good, what lies in the queues is handled, handlers finish, and then this
    /// completes: with `Ok` when the program has ended the connection.
    ///
    /// A queue with [`Overflow::Fail`](crate::Overflow::Fail) that has overflown goes on behind the gap, which
    /// [`ConnectionEvent::Lagged`](crate::ConnectionEvent::Lagged) reports.
    ///
    /// The future borrows nothing, so it can be spawned.
    ///
    /// # Errors
    /// [`RouterError::Subscribe`] when a subscription is refused, with nothing handled; or later, when the server has lost the
    /// session and refuses to renew it. [`RouterError::Connection`] when the connection has ended by itself.
    ///
    /// # Panics
    /// When a handler does.
    ///
    /// # Cancel safety
    /// Dropped, it stops all handlers where they wait, and ends the subscriptions as dropping their
    /// [`Messages`](crate::Messages) does.
    pub fn run(
        &self,
        client: &Client,
    ) -> impl Future<Output = Result<(), RouterError>> + Send + use<> {
        self.run_until(client, pending::<()>())
    }

    /// As [`run`](Self::run) in two steps, for programs in which others wait until the handlers can get messages: this completes
    /// when the server has granted all subscriptions, with the future that calls the handlers and has to be polled for that.
    ///
    /// # Errors
    /// [`RouterError::Subscribe`] when a subscription is refused.
    ///
    /// # Cancel safety
    /// Dropped, it takes the subscriptions back.
    ///
    /// ```no_run
    /// # async fn example(client: ferromqtt::Client, router: ferromqtt::Router) -> Result<(), ferromqtt::Error> {
    /// let running = tokio::spawn(router.start(&client).await?);
    /// println!("it has subscribed");
    /// # let _ = running;
    /// # Ok(()) }
    /// ```
    pub async fn start(
        &self,
        client: &Client,
    ) -> Result<impl Future<Output = Result<(), RouterError>> + Send + use<>, RouterError> {
        let subscribed = subscribe_all(client, self.handlers_of(client)).await?;
        Ok(attend(client.clone(), subscribed, pending::<()>()))
    }

    /// As [`run`](Self::run), but ends gracefully when `stop` completes: handlers that are at work finish, and no other message
    /// is handled. What is left in the queues goes as when [`Messages`](crate::Messages) are dropped.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub fn run_until<S>(
        &self,
        client: &Client,
        stop: S,
    ) -> impl Future<Output = Result<(), RouterError>> + Send + use<S>
    where
        S: Future<Output: Send> + Send,
    {
        run(client.clone(), self.handlers_of(client), stop)
    }

    fn handlers_of(&self, client: &Client) -> Vec<(Route, Running)> {
        let running = |(route, handler): &(Route, Handler)| {
            let running = Running {
                client: client.clone(),
                names: route.names(),
                concurrency: route.concurrency,
                handler: Arc::clone(handler),
                on_error: self.on_error.clone(),
            };
            (route.clone(), running)
        };
        self.handlers.iter().map(running).collect()
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<_> = self.handlers.iter().map(|(route, _)| route).collect();
        f.debug_struct("Router")
            .field("routes", &routes)
            .finish_non_exhaustive()
    }
}
