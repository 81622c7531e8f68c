//! Which messages of the journal are wanted, and why those that came are others.

use std::fmt::{self, Write};
use std::time::Instant;

use bytes::Bytes;
use ferromqtt_proto::packet::QoS;
use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{TopicFilter, debug_fields};

use super::records::JournalMessage;
use super::summary::shown_payload;
use crate::broker::Broker;

/// How many lines of a chart are shown.
const CHART_LINES: usize = 30;

/// How many messages that nearly fit are shown.
const SHOWN: usize = 3;

/// Selects messages of the [`BrokerJournal`](crate::BrokerJournal): by the topic, and by what else is set. A `&str` converts into the
/// filter for its topics.
///
/// Its text is one line: `topic "a/+"  payload "42"  QoS 1`.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageFilter {
    topic: TopicFilter,
    payload: Option<Bytes>,
    qos: Option<QoS>,
    retain: Option<bool>,
}

debug_fields!(MessageFilter {
    topic,
    payload: masked,
    qos,
    retain
});

impl MessageFilter {
    /// Selects messages to topics that `topic` matches.
    ///
    /// # Panics
    /// When it is no Topic Filter.
    #[track_caller]
    pub fn new(topic: &str) -> Self {
        match TopicFilter::new(topic) {
            Ok(topic) => topic.into(),
            Err(error) => panic!("{topic:?} selects no messages: {error}"),
        }
    }

    /// Only messages with this payload.
    #[must_use]
    pub fn payload(mut self, payload: impl Into<Bytes>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Only messages that were published with this QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Self {
        self.qos = Some(qos);
        self
    }

    /// Only messages that were published with RETAIN, or without.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Self {
        self.retain = Some(retain);
        self
    }

    pub(crate) fn selects(&self, message: &JournalMessage) -> bool {
        self.topic.matches(&message.topic)
            && (self.payload.as_ref()).is_none_or(|payload| *payload == message.payload)
            && self.qos.is_none_or(|qos| qos == message.qos)
            && self.retain.is_none_or(|retain| retain == message.retain)
    }

    /// What keeps a message from being selected, and how far it is off.
    fn differences(&self, message: &JournalMessage) -> (usize, String) {
        let mut differences = Vec::new();
        let mut distance = 0;
        if !self.topic.matches(&message.topic) {
            differences.push("topic".to_owned());
            distance += 10;
        }
        if let Some(payload) = &self.payload
            && *payload != message.payload
        {
            let (is, wanted) = (shown_payload(&message.payload), shown_payload(payload));
            differences.push(format!("payload: {is} is not {wanted}"));
            distance += 1;
        }
        if let Some(qos) = self.qos
            && qos != message.qos
        {
            let (is, wanted) = (message.qos.value(), qos.value());
            differences.push(format!("QoS: {is} is not {wanted}"));
            distance += 1;
        }
        if let Some(retain) = self.retain
            && retain != message.retain
        {
            let (is, wanted) = (message.retain, retain);
            differences.push(format!("RETAIN: {is} is not {wanted}"));
            distance += 1;
        }
        (distance, differences.join(", "))
    }

    /// The messages that come nearest to being selected, a line each: topic, payload, what differs, and when it came.
    fn near_misses<'a>(
        &self,
        start: Instant,
        messages: impl Iterator<Item = &'a JournalMessage>,
    ) -> String {
        let mut nearest: Vec<_> = messages
            .map(|message| (self.differences(message), message))
            .filter(|((distance, _), _)| *distance > 0)
            .collect();
        nearest.reverse(); // of those that are equally near the newest
        nearest.sort_by_key(|((distance, _), _)| *distance);
        let mut text = String::new();
        for ((_, differences), message) in nearest.into_iter().take(SHOWN) {
            let topic = peer_text(&message.topic, &[]);
            let payload = shown_payload(&message.payload);
            let time = message.at.saturating_duration_since(start).as_secs_f64();
            let _ = writeln!(
                text,
                "  near:  {topic}  {payload}   {differences}   +{time:.3} s"
            );
        }
        text
    }
}

impl Broker {
    /// Why no message that `filter` selects was accepted, or not as many as expected, for the failure of a test: `headline`,
    /// the filter, the messages that come nearest, the rules for faults that never fired, and the newest 30 lines of the
    /// chart. It shows the beginnings of payloads.
    pub fn explain_missing(&self, headline: &str, filter: &MessageFilter) -> String {
        let mut text = format!("{headline}   {filter}\n");
        let Some(journal) = self.journal() else {
            return text + "  the broker keeps no journal: its option journal_packets is 0\n";
        };
        if let Some(start) = journal.began() {
            text += &filter.near_misses(start, journal.messages());
        }
        for rule in self.explain_unused_faults() {
            let _ = writeln!(text, "  rule never fired: {rule}");
        }
        text + &journal.chart(CHART_LINES)
    }
}

impl From<TopicFilter> for MessageFilter {
    fn from(topic: TopicFilter) -> Self {
        Self {
            topic,
            payload: None,
            qos: None,
            retain: None,
        }
    }
}

/// # Panics
/// When it is no Topic Filter.
impl From<&str> for MessageFilter {
    #[track_caller]
    fn from(topic: &str) -> Self {
        Self::new(topic)
    }
}

impl fmt::Display for MessageFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic \"{}\"", peer_text(&self.topic, &[]))?;
        if let Some(payload) = &self.payload {
            write!(f, "  payload {}", shown_payload(payload))?;
        }
        if let Some(qos) = self.qos {
            write!(f, "  QoS {}", qos.value())?;
        }
        if let Some(retain) = self.retain {
            write!(f, "  RETAIN {retain}")?;
        }
        Ok(())
    }
}
