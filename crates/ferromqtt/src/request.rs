//! Requests and responses (5.0, section 4.10).

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_engine::{CallEnd, Purpose, Submission};
use ferromqtt_proto as proto;
use proto::Outcome;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::call::PendingCall;
use crate::publish::{no_driver, settled};
use crate::shared::{Shared, end_of};
use crate::{Client, Delivery, Message, Properties, PublishError, QoS, ReasonCode, TopicName};

/// How long a response is awaited by default.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request that is about to be made: see [`Client::request`]. It borrows nothing, so its future can be spawned.
#[derive(Clone)]
#[must_use = "nothing is asked until this is awaited"]
pub struct Request {
    client: Client,
    request: Result<proto::Publish, PublishError>,
    timeout: Option<Duration>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_tuple("Request");
        match &self.request {
            Ok(publish) => request.field(publish),
            Err(error) => request.field(error),
        };
        request.finish()
    }
}

impl Request {
    pub(crate) fn new(
        client: Client,
        topic: Result<TopicName, PublishError>,
        payload: Bytes,
    ) -> Self {
        let request = topic.map(|topic| {
            let mut request = proto::Publish::new(topic, payload);
            request.qos = QoS::AtLeastOnce;
            request
        });
        Self {
            client,
            request,
            timeout: Some(TIMEOUT),
        }
    }

    fn with(mut self, set: impl FnOnce(&mut proto::Publish)) -> Self {
        if let Ok(request) = &mut self.request {
            set(request);
        }
        self
    }

    /// Quality of Service of the request. Default: 1, at which a server can tell that nobody is there to respond.
    pub fn qos(self, qos: QoS) -> Self {
        self.with(|request| request.qos = qos)
    }

    /// Properties, such as Message Expiry Interval or Content Type. Response Topic and Correlation Data are the client's own:
    /// they replace those given here. Default: none.
    pub fn properties(self, properties: Properties) -> Self {
        self.with(|request| request.properties = Some(Box::new(properties)))
    }

    /// How long to wait for the response, all included; `None` waits forever. Default: 30 s.
    ///
    /// A request that has not been sent by then is withdrawn; [`RequestError::delivery`] says whether it has.
    pub fn timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.timeout = limit.into();
        self
    }
}

impl IntoFuture for Request {
    type Output = Result<Message, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Completes with the response. Dropped before, a response that comes later is dropped too.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            consume_budget().await; // a loop of calls that fail must not keep others from running
            answer(&self.client.shared, self.request?, self.timeout).await
        })
    }
}

async fn answer(
    shared: &Shared,
    request: proto::Publish,
    limit: Option<Duration>,
) -> Result<Message, RequestError> {
    let deadline = end_of(limit);
    let (token, end) = oneshot::channel();
    let submitted = shared.call(|state, now| {
        (state.engine).publish(now, Purpose::Request, &request, deadline, token)
    });
    let call = match submitted {
        Ok(Submission::Accepted(call) | Submission::Waits(call)) => {
            PendingCall::new(shared, call, end)
        }
        Err((_, refusal)) => return Err(PublishError::of_refusal(refusal).into()),
    };
    match call.end().await {
        CallEnd::Completed(Outcome::Responded(response)) => Ok(*response),
        CallEnd::Completed(Outcome::Acknowledged { .. }) => Err(RequestError::NoResponder),
        CallEnd::Completed(Outcome::Unanswerable { reason, delivery }) => {
            Err(RequestError::Unanswerable { reason, delivery })
        }
        end => match settled(end, limit) {
            Err(error) => Err(error.into()),
            Ok(_) => Err(no_driver().into()), // cannot be: what succeeds is above
        },
    }
}

/// A request got no response.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request could not be published, or the connection ended for good before the response.
    #[error(transparent)]
    Publish(PublishError),
    /// The server says that nobody has subscribed to the request's topic (Reason Code 0x10).
    #[error("nobody is there to respond")]
    NoResponder,
    /// The server refused the subscription that the response would have come by, or did not renew it.
    #[error("the server lets this client receive no response: {reason}")]
    Unanswerable {
        /// Its Reason Code.
        reason: ReasonCode,
        /// Whether the request itself may have arrived.
        delivery: Delivery,
    },
    /// No response came within the [time limit](Request::timeout).
    #[error("no response came within {limit:?}{}", sent(*delivery))]
    TimedOut {
        /// The limit.
        limit: Duration,
        /// [`Delivery::NotSent`]: the request had not been sent, and was withdrawn. [`Delivery::Unknown`]: it may have arrived.
        delivery: Delivery,
    },
}

const fn sent(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::NotSent => ": the request could not be sent, and was withdrawn",
        Delivery::Unknown => "; the request was sent, and may have arrived",
    }
}

impl From<PublishError> for RequestError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::TimedOut { limit, delivery } => Self::TimedOut { limit, delivery },
            error => Self::Publish(error),
        }
    }
}

impl RequestError {
    /// Whether the request may have arrived all the same.
    pub const fn delivery(&self) -> Delivery {
        match self {
            Self::Publish(error) => error.delivery(),
            Self::Unanswerable { delivery, .. } | Self::TimedOut { delivery, .. } => *delivery,
            Self::NoResponder => Delivery::NotSent, // to anybody
        }
    }
}
