//! Requests and responses (5.0, section 4.10).

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_engine::{Awaited, Purpose, Submission};
use ferromqtt_proto as proto;
use tokio::sync::oneshot;
use tokio::task::coop::consume_budget;

use crate::call::PendingCall;
use crate::shared::{Shared, end_of};
use crate::{Client, Message, Properties, PublishError, QoS, RequestError, TopicName};

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
        Err((_, refusal)) => return Err(refusal.into()),
    };
    let awaited = Awaited::of_publish(request.qos);
    (call.end().await).responded(awaited, limit.unwrap_or_default())
}
