//! Requests and their responses (5.0, section 4.10): which topic responses come to, and which request each one answers.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};

use super::Client;
use super::subscribe::Subscribe;
use crate::debug_fields;
use crate::error::InvalidPublish;
use crate::event::{Delivery, Event, OpId, Outcome};
use crate::filter_refusal::FilterRefusal;
use crate::packet::{Properties, QoS, ReasonCode};
use crate::session::{Message, Owner, Publish, QueueId, QueueOptions};
use crate::text::Utf8String;
use crate::topic::{TopicFilter, TopicName};

/// The requests that await a response, and what identifies their responses.
pub(super) struct Correlation {
    /// Begins the Correlation Data of this client, so that a response to an earlier run of the program answers nothing.
    token: u64,
    /// CONNACK's Response Information: where this client may have its responses sent.
    information: Option<Utf8String>,
    topic: Option<TopicName>,
    /// What the responses are subscribed for. It never holds a message.
    queue: Option<QueueId>,
    /// The SUBSCRIBE that is to bring the responses, while it is under way.
    subscribing: Option<OpId>,
    requests: BTreeMap<OpId, RequestStage>,
    /// How many of those have their response.
    answered: usize,
}

debug_fields!(Correlation {
    token: hidden,
    information,
    topic,
    queue,
    subscribing,
    requests,
    answered
});

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestStage {
    /// Its publish has not completed.
    Publishing,
    /// Only the response is awaited.
    Published,
    /// The response came first, and the request has completed; its publish has not.
    Answered,
}

impl Correlation {
    /// Whether a caller awaits a response.
    pub(super) fn waits_for_response(&self) -> bool {
        self.requests.len() > self.answered
    }

    pub(super) const fn new(token: u64) -> Self {
        Self {
            token,
            information: None,
            topic: None,
            queue: None,
            subscribing: None,
            requests: BTreeMap::new(),
            answered: 0,
        }
    }

    pub(super) fn learn(&mut self, information: Option<&Utf8String>) {
        self.information = information.map(Utf8String::detached);
    }

    /// Whether responses are subscribed for this queue.
    pub(super) fn is_fed_by(&self, queue: QueueId) -> bool {
        self.queue == Some(queue)
    }

    /// Correlation Data for one request.
    fn data(&self, op: OpId) -> Bytes {
        let mut data = BytesMut::with_capacity(16);
        data.put_u64(self.token);
        data.put_u64(op.value());
        data.freeze()
    }

    /// The request that a response with this Correlation Data answers.
    fn answered_by(&self, data: Option<&Bytes>) -> Option<OpId> {
        let (token, op) = data?.split_first_chunk::<8>()?;
        let op = u64::from_be_bytes(op.try_into().ok()?);
        (u64::from_be_bytes(*token) == self.token).then(|| OpId::from_value(op))
    }
}

impl Client {
    /// Accepts a request: a message whose Response Topic and Correlation Data the client chooses, so that it recognizes the
    /// response. The client subscribes to the Response Topic with the first request, before the request leaves, and
    /// stays subscribed.
    ///
    /// Completes as [`Outcome::Responded`]; as [`Outcome::Acknowledged`] with No matching subscribers, when nobody was there
    /// to respond (at QoS 1 and 2, with servers that report it); as [`Outcome::Unanswerable`]; or as a publish that fails.
    /// Otherwise it waits forever: the driver [abandons](Client::abandon) it when its time is over. A response that no caller
    /// awaits is dropped.
    ///
    /// The Response Topic is [`Options::response_topic`](crate::Options::response_topic). Without one it is chosen with the
    /// first request: below the Response Information that the server gave (section 3.2.2.3.15), otherwise below `responses`.
    ///
    /// # Errors
    /// As [`Client::publish`]; and [`InvalidPublish::Unanswerable`] when the response cannot be subscribed to.
    pub fn request(&mut self, now: Instant, mut request: Publish) -> Result<OpId, InvalidPublish> {
        if !self.options.protocol.is_v5() {
            return Err(InvalidPublish::NoRequests);
        }
        let topic = self.response_topic()?;
        self.subscribe_to_responses(now, &topic)?;
        let op = self.next_op();
        let properties = request.properties.get_or_insert_default();
        properties.response_topic = Some(topic.as_utf8().clone());
        properties.correlation_data = Some(self.correlation.data(op));
        self.correlation
            .requests
            .insert(op, RequestStage::Publishing);
        let accepted = self.accept_publish(now, op, Owner::Request(op), request);
        if accepted.is_err() {
            self.correlation.requests.remove(&op);
        }
        accepted.map(|()| op)
    }

    fn response_topic(&mut self) -> Result<TopicName, InvalidPublish> {
        if let Some(topic) = self
            .options
            .response_topic
            .as_ref()
            .or(self.correlation.topic.as_ref())
        {
            return Ok(topic.clone());
        }
        let Correlation {
            token, information, ..
        } = &self.correlation;
        let below =
            |base: &str| TopicName::new(format!("{}/{token:016x}", base.trim_end_matches('/')));
        let given = (information.as_ref()).and_then(|base| below(base.as_str()).ok());
        let topic = match given {
            Some(topic) => topic,
            None => below("responses")?,
        };
        self.correlation.topic = Some(topic.clone());
        Ok(topic)
    }

    /// Subscribes to the Response Topic, unless that is done or under way. What a lost session held is restored like every
    /// other subscription.
    fn subscribe_to_responses(
        &mut self,
        now: Instant,
        topic: &TopicName,
    ) -> Result<(), InvalidPublish> {
        let queue = match self.correlation.queue {
            Some(queue) => queue,
            None => self.open_queue(QueueOptions::default()),
        };
        self.correlation.queue = Some(queue);
        if self.correlation.subscribing.is_some() || self.filters(queue).next().is_some() {
            return Ok(());
        }
        let filter = TopicFilter::new(topic.as_str())?;
        let subscribe = Subscribe {
            filters: vec![(filter, QoS::AtLeastOnce.into())],
            properties: Properties::default(),
            queue,
        };
        let op = self
            .subscribe(now, subscribe)
            .map_err(|error| match error {
                crate::InvalidSubscribe::NotConnected => InvalidPublish::NotConnected,
                error => InvalidPublish::Unanswerable(error),
            })?;
        self.correlation.subscribing = Some(op);
        Ok(())
    }

    /// The publish of the request `op` has ended: reports that to the caller, unless it still waits for the response or
    /// has it.
    #[cold] // beside a mere publish
    pub(super) fn on_request_published(&mut self, op: OpId, outcome: Outcome) {
        let Some(stage) = self.correlation.requests.get_mut(&op) else {
            return; // never: a request is there for as long as its publish has it as the owner
        };
        match (*stage, &outcome) {
            (RequestStage::Publishing, Outcome::Sent) => {
                *stage = RequestStage::Published;
                return;
            }
            (RequestStage::Publishing, Outcome::Acknowledged { reason, .. })
                if *reason != ReasonCode::NoMatchingSubscribers =>
            {
                *stage = RequestStage::Published;
                return;
            }
            _ => {}
        }
        let outcome = match outcome {
            // It was accepted before the server turned out not to speak 5.0.
            Outcome::NotPossible(InvalidPublish::Property(_)) if !self.options.protocol.is_v5() => {
                Outcome::NotPossible(InvalidPublish::NoRequests)
            }
            outcome => outcome,
        };
        let is_answered = self.correlation.requests.remove(&op) == Some(RequestStage::Answered);
        self.correlation.answered -= usize::from(is_answered);
        if !is_answered {
            self.events.push_back(Event::Completed { op, outcome });
        }
    }

    /// Whether `op` is the SUBSCRIBE for responses, which the application has not asked for.
    pub(super) fn is_response_subscription(&self, op: OpId) -> bool {
        self.correlation.subscribing == Some(op)
    }

    /// The SUBSCRIBE for responses has ended.
    pub(super) fn on_response_subscription(&mut self, outcome: Outcome) {
        self.correlation.subscribing = None;
        match outcome {
            Outcome::Subscribed { reasons, .. } => {
                if let Some(&reason) = reasons.iter().find(|reason| reason.is_error()) {
                    self.no_responses(&FilterRefusal::ByServer(reason));
                }
            }
            Outcome::RequestNotPossible(error) => {
                self.no_responses(&FilterRefusal::NotAsked(error));
            }
            _ => {} // the connection has ended, and with it each request
        }
    }

    /// No response can come: every request that waits for one ends.
    pub(super) fn no_responses(&mut self, refusal: &FilterRefusal) {
        let requests = std::mem::take(&mut self.correlation.requests);
        for (op, stage) in requests {
            let delivery = match stage {
                RequestStage::Answered => {
                    self.correlation.requests.insert(op, stage);
                    continue;
                }
                RequestStage::Publishing => self.abandon_publish(op).unwrap_or(Delivery::Unknown),
                RequestStage::Published => Delivery::Unknown,
            };
            let outcome = Outcome::Unanswerable {
                refusal: refusal.clone(),
                delivery,
            };
            self.events.push_back(Event::Completed { op, outcome });
        }
    }

    /// Completes the request that a message answers. Any other message on the Response Topic is nobody's.
    pub(super) fn on_response(&mut self, mut message: Message) {
        let data = (message.properties.as_ref()).and_then(|it| it.correlation_data.as_ref());
        let Some(op) = self.correlation.answered_by(data) else {
            return;
        };
        match self.correlation.requests.get_mut(&op) {
            Some(stage @ RequestStage::Publishing) => {
                *stage = RequestStage::Answered;
                self.correlation.answered += 1;
            }
            Some(RequestStage::Published) => {
                self.correlation.requests.remove(&op);
            }
            Some(RequestStage::Answered) | None => return, // a second response, or one that comes too late
        }
        self.session.inbox.part(&mut message); // its receiver may let it lie
        let outcome = Outcome::Responded(Box::new(message));
        self.events.push_back(Event::Completed { op, outcome });
    }

    /// Stops tracking `op`, a request or a publish, for its caller.
    pub(super) fn abandon_response(&mut self, op: OpId) -> Option<Delivery> {
        match self.correlation.requests.remove(&op) {
            Some(RequestStage::Answered) => {
                // It has completed; its publish still ends, which is reported to nobody.
                self.correlation.requests.insert(op, RequestStage::Answered);
                None
            }
            Some(RequestStage::Published) => Some(Delivery::Unknown),
            Some(RequestStage::Publishing) | None => self.abandon_publish(op),
        }
    }

    /// Whether any request has been published and awaits its response.
    pub(super) fn awaits_response(&self) -> bool {
        (self.correlation.requests.values()).any(|stage| *stage == RequestStage::Published)
    }

    /// The requests that wait for nothing but their response.
    pub(super) fn take_unanswered(&mut self) -> Vec<OpId> {
        let mut unanswered = Vec::new();
        self.correlation.requests.retain(|&op, stage| {
            let waits = *stage == RequestStage::Published;
            if waits {
                unanswered.push(op);
            }
            !waits
        });
        unanswered
    }
}

impl Publish {
    /// The response to a request: a message to its Response Topic, with its Correlation Data, at the QoS that the request
    /// came with.
    ///
    /// # Errors
    /// [`InvalidPublish::NoResponseTopic`] when the message asks for no response.
    pub fn response_to(
        request: &Message,
        payload: impl Into<Bytes>,
    ) -> Result<Self, InvalidPublish> {
        Self::response(request.properties.as_deref(), request.qos, payload)
    }

    /// As [`response_to`](Self::response_to), to a message that the caller no longer has: by its properties and its QoS.
    ///
    /// # Errors
    /// As [`response_to`](Self::response_to).
    pub fn response(
        asked: Option<&Properties>,
        qos: QoS,
        payload: impl Into<Bytes>,
    ) -> Result<Self, InvalidPublish> {
        let topic = (asked.and_then(|it| it.response_topic.as_ref()))
            .ok_or(InvalidPublish::NoResponseTopic)?;
        let mut response = Self::new(TopicName::new(topic.as_str())?, payload);
        response.qos = qos;
        response.properties = asked
            .and_then(|it| it.correlation_data.clone())
            .map(|data| {
                Box::new(Properties {
                    correlation_data: Some(data),
                    ..Properties::default()
                })
            });
        Ok(response)
    }
}
