//! A rule as code, in whatever language: which calls there are, in which order.

use std::fmt::Write;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};

use crate::faults::{ConditionValue, CutPoint, FaultAction, FaultRule};
use crate::journal::BrokerSide;

/// A call of a builder: its name, and its arguments as code.
pub(super) type CodeCall = (&'static str, String);

/// How a language writes what the code of a rule is made of.
pub(super) trait CodeLanguage {
    /// The expression that begins a rule, with the conditions on its packets: each a name and its value as code.
    fn beginning(side: BrokerSide, kind: Option<PacketType>, conditions: &[CodeCall]) -> String;
    fn text(text: &str) -> String;
    fn duration(time: Duration) -> String;
    fn qos(qos: QoS) -> String;
    fn reason(reason: ReasonCode) -> String;
    fn bytes(bytes: &[u8]) -> String;
    fn duplicate(dup: bool, after: Duration) -> CodeCall;
    fn reorder(with_next: u32) -> CodeCall;
    fn cut(at: CutPoint, reset: bool) -> Vec<CodeCall>;
    fn refuse_with(reason: ReasonCode, text: &str) -> CodeCall;
}

/// The code of a rule, an expression.
pub(super) fn rule_code<L: CodeLanguage>(rule: &FaultRule) -> String {
    let FaultRule {
        place,
        timing,
        actions,
    } = rule;
    let code = |(word, value)| (word, value_code::<L>(value));
    let conditions: Vec<_> = place.conditions().map(code).collect();
    let calls = (timing.conditions().map(code)).chain(actions.iter().flat_map(action_calls::<L>));
    let mut text = L::beginning(place.side, place.kind, &conditions);
    for (name, arguments) in calls {
        let _ = write!(text, ".{name}({arguments})"); // a String takes everything
    }
    text
}

fn value_code<L: CodeLanguage>(value: ConditionValue<'_>) -> String {
    match value {
        ConditionValue::Text(text) => L::text(text),
        ConditionValue::Qos(qos) => L::qos(qos),
        ConditionValue::Number(number) => number.to_string(),
        ConditionValue::Time(time) => L::duration(time),
        ConditionValue::Probability(probability) => format!("{probability:?}"),
        ConditionValue::Flag => String::new(),
    }
}

fn action_calls<L: CodeLanguage>(action: &FaultAction) -> Vec<CodeCall> {
    vec![match action {
        FaultAction::Lose => ("lose", String::new()),
        FaultAction::Duplicate { dup, after } => L::duplicate(*dup, *after),
        FaultAction::Delay(time) => ("delay", L::duration(*time)),
        FaultAction::Hold => ("hold", String::new()),
        FaultAction::Reorder { with_next } => L::reorder(*with_next),
        FaultAction::Cut { at, reset } => return L::cut(*at, *reset),
        FaultAction::Refuse { reason, text } => match text {
            None => ("refuse", L::reason(*reason)),
            Some(text) => L::refuse_with(*reason, text),
        },
        FaultAction::Replace(bytes) => ("replace", L::bytes(bytes)),
        FaultAction::Garbage(count) => ("garbage", count.to_string()),
        FaultAction::Truncate(count) => ("truncate", count.to_string()),
        FaultAction::Disconnect(reason) => ("disconnect", L::reason(*reason)),
    }]
}
