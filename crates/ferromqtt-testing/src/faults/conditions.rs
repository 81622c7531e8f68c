//! The conditions of a rule as words and values: which there are, in the order in which every form of a rule has them.

use std::time::Duration;

use ferromqtt_proto::packet::QoS;

use super::rule::{FaultPlace, FaultTimes, FaultTiming};

/// A word of a rule, and what stands behind it.
pub(crate) type RuleCondition<'a> = (&'static str, ConditionValue<'a>);

/// The value of a condition, for each form to write in its own way.
pub(crate) enum ConditionValue<'a> {
    Text(&'a str),
    Qos(QoS),
    Number(u32),
    Time(Duration),
    Probability(f64),
    /// The word says it all.
    Flag,
}

impl FaultPlace {
    /// What it has beside side and type.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = RuleCondition<'_>> {
        let Self {
            side: _,
            kind: _,
            client,
            topic,
            qos,
            packet_id,
        } = self;
        let conditions = [
            ("client", client.as_deref().map(ConditionValue::Text)),
            ("topic", topic.as_deref().map(ConditionValue::Text)),
            ("qos", qos.map(ConditionValue::Qos)),
            (
                "packet_id",
                packet_id.map(|it| ConditionValue::Number(it.into())),
            ),
        ];
        let conditions = conditions.into_iter();
        conditions.filter_map(|(word, value)| Some((word, value?)))
    }
}

impl FaultTiming {
    /// What differs from the default.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = RuleCondition<'_>> {
        let Self {
            nth,
            times,
            after,
            probability,
            optional,
            both_times: _,
        } = *self;
        let conditions = [
            (nth != 1).then_some(("nth", ConditionValue::Number(nth))),
            times.map(|times| match times {
                FaultTimes::Exactly(times) => ("times", ConditionValue::Number(times)),
                FaultTimes::Always => ("always", ConditionValue::Flag),
            }),
            (!after.is_zero()).then_some(("after", ConditionValue::Time(after))),
            (probability != 1.0)
                .then_some(("with_probability", ConditionValue::Probability(probability))),
            optional.then_some(("optional", ConditionValue::Flag)),
        ];
        conditions.into_iter().flatten()
    }
}
