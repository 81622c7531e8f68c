//! Enhanced authentication (5.0, section 4.12): how the application's part of it is asked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ferromqtt_engine::{Ask, CallEnd, Reply};
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::ConnectionError;
use crate::authenticator::{Authenticator, AuthenticatorError, ReAuthenticateError};
use crate::shared::Shared;

/// An Authentication Method, and what begins its exchanges.
#[derive(Clone)]
pub(crate) struct Method {
    pub(crate) name: String,
    begin: Arc<dyn Fn() -> Box<dyn Authenticator> + Send + Sync>,
}

impl Method {
    pub(crate) fn new<A: Authenticator>(
        name: String,
        begin: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        let begin = Arc::new(move || Box::new(begin()) as Box<dyn Authenticator>);
        Self { name, begin }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Method").field(&self.name).finish()
    }
}

/// The exchange under way. Its lock is never held while the application computes.
pub(crate) struct AuthenticationExchange {
    method: Method,
    exchange: Mutex<Option<Box<dyn Authenticator>>>,
}

type Why = Arc<str>;

impl AuthenticationExchange {
    pub(crate) const fn new(method: Method) -> Self {
        Self {
            method,
            exchange: Mutex::new(None),
        }
    }

    fn exchange(&self) -> MutexGuard<'_, Option<Box<dyn Authenticator>>> {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new exchange, and its first data.
    fn begin(&self) -> Result<(Box<dyn Authenticator>, Option<Bytes>), Why> {
        let mut exchange = (self.method.begin)();
        let data = exchange.begin().map_err(named)?;
        Ok((exchange, data))
    }

    /// Returns the exchange that was under way, if any. Drop it without a lock: that is the application's code.
    fn replace(&self, exchange: Box<dyn Authenticator>) -> Option<Box<dyn Authenticator>> {
        self.exchange().replace(exchange)
    }

    /// Begins the exchange of a new connection.
    pub(crate) fn begin_connection(&self) -> Result<Option<Bytes>, Why> {
        let (exchange, data) = self.begin()?;
        drop(self.replace(exchange));
        Ok(data)
    }

    /// Passes what the server has sent to the application, and returns its answer.
    pub(crate) fn hear(&self, ask: Ask) -> Reply {
        let Some(mut exchange) = self.exchange().take() else {
            return Reply::Failed("there is no exchange under way".into());
        };
        let heard = match ask {
            Ask::Continue(data) => exchange.answer(data).map(Reply::Data),
            Ask::Accepted(data) => exchange.accepted(data).map(|()| Reply::Accepted),
        };
        if let Ok(Reply::Data(_)) = heard {
            drop(self.replace(exchange));
        }
        heard.unwrap_or_else(|error| Reply::Failed(named(error)))
    }
}

impl fmt::Debug for AuthenticationExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.method.fmt(f)
    }
}

fn named(error: AuthenticatorError) -> Why {
    error.to_string().into()
}

pub(crate) async fn re_authenticate(shared: &Shared) -> Result<(), ReAuthenticateError> {
    consume_budget().await; // a loop of calls that fail must not keep others from running
    let Some(authentication) = &shared.authentication else {
        return Err(ReAuthenticateError::NoAuthenticator);
    };
    let (exchange, data) = authentication
        .begin()
        .map_err(ReAuthenticateError::Failed)?;
    let (sender, outcome) = oneshot::channel();
    let (begun, left) =
        shared.call(
            |state, now| match state.engine.re_authenticate(now, data, sender) {
                Ok(()) => (Ok(()), (authentication.replace(exchange), None)),
                Err((sender, error)) => (Err(error), (Some(exchange), Some(sender))),
            },
        );
    drop(left); // not under the lock
    begun?;
    match outcome.await {
        Ok(CallEnd::ReAuthenticated(result)) => result.map_err(ReAuthenticateError::Disconnected),
        _ => Err(ReAuthenticateError::Disconnected(
            ConnectionError::DriverGone,
        )),
    }
}
