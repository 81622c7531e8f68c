//! A rule as code, in whatever language: which calls there are, in which order.

use std::fmt::Write;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};

use crate::faults::{CutPoint, FaultAction, FaultPlace, FaultRule, FaultTimes};
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
    let mut code = place_code::<L>(place);
    let mut call = |(name, arguments): CodeCall| {
        let _ = write!(code, ".{name}({arguments})"); // a String takes everything
    };
    if timing.nth != 1 {
        call(("nth", timing.nth.to_string()));
    }
    match timing.times {
        None => {}
        Some(FaultTimes::Exactly(times)) => call(("times", times.to_string())),
        Some(FaultTimes::Always) => call(("always", String::new())),
    }
    if !timing.after.is_zero() {
        call(("after", L::duration(timing.after)));
    }
    if timing.probability != 1.0 {
        call(("with_probability", format!("{:?}", timing.probability)));
    }
    if timing.optional {
        call(("optional", String::new()));
    }
    for action in actions {
        action_calls::<L>(action).into_iter().for_each(&mut call);
    }
    code
}

fn place_code<L: CodeLanguage>(place: &FaultPlace) -> String {
    let FaultPlace {
        side,
        kind,
        client,
        topic,
        qos,
        packet_id,
    } = place;
    let conditions = [
        ("client", client.as_deref().map(L::text)),
        ("topic", topic.as_deref().map(L::text)),
        ("qos", qos.map(L::qos)),
        ("packet_id", packet_id.map(|it| it.to_string())),
    ];
    let conditions = conditions.into_iter();
    let conditions: Vec<_> =
        (conditions.filter_map(|(name, value)| Some((name, value?)))).collect();
    L::beginning(*side, *kind, &conditions)
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
