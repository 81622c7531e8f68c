//! Scripts as Rust, to be pasted into a test.

use std::fmt::Write;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};

use super::script::{BrokerVerb, EventTime, FaultScript, ScriptEntry};
use crate::faults::{CutPoint, FaultAction, FaultRule, FaultTimes};
use crate::journal::BrokerSide;
use crate::wire::RestartKeeps;

impl FaultScript {
    /// The script as an expression in Rust, whose names are those of this crate, of `ferromqtt_proto` and of `std::time`.
    ///
    /// ```
    /// use ferromqtt_testing::FaultScript;
    ///
    /// let script: FaultScript = "sends PUBACK nth 3 lose, cut".parse()?;
    /// assert_eq!(
    ///     script.rust_code(),
    ///     "FaultScript::new()\n    .rule(FaultRule::sends(PacketType::PubAck).nth(3).lose().cut())"
    /// );
    /// # Ok::<_, ferromqtt_testing::FaultScriptError>(())
    /// ```
    pub fn rust_code(&self) -> String {
        let mut code = "FaultScript::new()".to_owned();
        for entry in &self.entries {
            let call = match entry {
                ScriptEntry::Rule(rule) => format!("rule({})", rule_code(rule)),
                ScriptEntry::Event(event) => {
                    let at = match event.at {
                        EventTime::After(time) => {
                            format!("EventTime::After({})", duration_code(time))
                        }
                        EventTime::Packet(number) => format!("EventTime::Packet({number})"),
                    };
                    format!("event({at}, {})", verb_code(event.verb))
                }
            };
            let _ = write!(code, "\n    .{call}");
        }
        code
    }
}

fn verb_code(verb: BrokerVerb) -> String {
    match verb {
        BrokerVerb::Restart { down_for, keeps } => {
            let keeps = match keeps {
                RestartKeeps::ALL => "RestartKeeps::ALL".to_owned(),
                RestartKeeps { sessions, retained } => {
                    format!("RestartKeeps {{ sessions: {sessions}, retained: {retained} }}")
                }
            };
            format!("BrokerVerb::restart({}, {keeps})", duration_code(down_for))
        }
        BrokerVerb::Partition { lasts, hangs } => {
            format!("BrokerVerb::partition({}, {hangs})", duration_code(lasts))
        }
    }
}

fn rule_code(rule: &FaultRule) -> String {
    let FaultRule {
        place,
        timing,
        actions,
    } = rule;
    let side = match place.side {
        BrokerSide::Sends => "sends",
        BrokerSide::Receives => "receives",
    };
    let kind = match place.kind {
        None => "None".to_owned(),
        Some(kind) => format!("PacketType::{}", kind_code(kind)),
    };
    let mut code = format!("FaultRule::{side}({kind})");
    let mut call = |name: &str, argument: String| {
        let _ = write!(code, ".{name}({argument})");
    };
    if let Some(client) = &place.client {
        call("client", format!("{client:?}"));
    }
    if let Some(topic) = &place.topic {
        call("topic", format!("{topic:?}"));
    }
    if let Some(qos) = place.qos {
        let qos = match qos {
            QoS::AtMostOnce => "AtMostOnce",
            QoS::AtLeastOnce => "AtLeastOnce",
            QoS::ExactlyOnce => "ExactlyOnce",
        };
        call("qos", format!("QoS::{qos}"));
    }
    if let Some(packet_id) = place.packet_id {
        call("packet_id", packet_id.to_string());
    }
    if timing.nth != 1 {
        call("nth", timing.nth.to_string());
    }
    match timing.times {
        None => {}
        Some(FaultTimes::Exactly(times)) => call("times", times.to_string()),
        Some(FaultTimes::Always) => call("always", String::new()),
    }
    if !timing.after.is_zero() {
        call("after", duration_code(timing.after));
    }
    if timing.probability != 1.0 {
        call("with_probability", format!("{:?}", timing.probability));
    }
    if timing.optional {
        call("optional", String::new());
    }
    for action in actions {
        let (name, argument) = action_code(action);
        call(name, argument);
        if let FaultAction::Cut { reset: true, .. } = action {
            call("reset", String::new());
        }
    }
    code
}

/// The word for an action, and its argument.
fn action_code(action: &FaultAction) -> (&'static str, String) {
    let none = String::new;
    match action {
        FaultAction::Lose => ("lose", none()),
        FaultAction::Duplicate { dup: true, after } if after.is_zero() => ("duplicate", none()),
        FaultAction::Duplicate { dup, after } => (
            "duplicate_after",
            format!("{}, {dup}", duration_code(*after)),
        ),
        FaultAction::Delay(time) => ("delay", duration_code(*time)),
        FaultAction::Hold => ("hold", none()),
        FaultAction::Reorder { with_next } => ("reorder", with_next.to_string()),
        FaultAction::Cut { at, .. } => match at {
            CutPoint::After => ("cut", none()),
            CutPoint::Before => ("cut_before", none()),
            CutPoint::AfterBytes(bytes) => ("cut_after_bytes", bytes.to_string()),
        },
        FaultAction::Refuse { reason, text } => match text {
            None => ("refuse", reason_code(*reason)),
            Some(text) => ("refuse_with", format!("{}, {text:?}", reason_code(*reason))),
        },
        FaultAction::Replace(bytes) => ("replace", format!("vec!{:?}", &bytes[..])),
        FaultAction::Garbage(count) => ("garbage", count.to_string()),
        FaultAction::Truncate(count) => ("truncate", count.to_string()),
        FaultAction::Disconnect(reason) => ("disconnect", reason_code(*reason)),
    }
}

fn reason_code(reason: ReasonCode) -> String {
    format!("ReasonCode::{reason:?}")
}

/// The variant is named as Debug names it.
fn kind_code(kind: PacketType) -> String {
    format!("{kind:?}")
}

fn duration_code(time: Duration) -> String {
    let nanoseconds = time.as_nanos();
    if time.is_zero() {
        return "Duration::ZERO".to_owned();
    }
    let units = [
        ("secs", 1_000_000_000),
        ("millis", 1_000_000),
        ("micros", 1_000),
    ];
    for (unit, length) in units {
        if nanoseconds.is_multiple_of(length) {
            return format!("Duration::from_{unit}({})", nanoseconds / length);
        }
    }
    format!("Duration::from_nanos({nanoseconds})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(line: &str) -> String {
        let script: FaultScript = line.parse().unwrap();
        let code = script.rust_code();
        code.strip_prefix("FaultScript::new()\n    ")
            .unwrap()
            .to_owned()
    }

    #[test]
    fn the_code_of_a_rule_makes_the_same_rule() {
        // On the left what is parsed, on the right what `code` prints of it, compiled.
        let pairs: [(&str, &str, FaultRule); 6] = [
            (
                "sends PUBACK nth 3 lose, cut reset",
                ".rule(FaultRule::sends(PacketType::PubAck).nth(3).lose().cut().reset())",
                FaultRule::sends(PacketType::PubAck)
                    .nth(3)
                    .lose()
                    .cut()
                    .reset(),
            ),
            (
                r#"receives PUBLISH client "a\"b" topic "t/#" qos 2 always delay 1500ms"#,
                r#".rule(FaultRule::receives(PacketType::Publish).client("a\"b").topic("t/#").qos(QoS::ExactlyOnce).always().delay(Duration::from_millis(1500)))"#,
                (FaultRule::receives(PacketType::Publish)
                    .client("a\"b")
                    .topic("t/#"))
                .qos(QoS::ExactlyOnce)
                .always()
                .delay(Duration::from_millis(1500)),
            ),
            (
                "sends any times 2 after 3s with_probability 0.5 optional cut after_bytes 5",
                ".rule(FaultRule::sends(None).times(2).after(Duration::from_secs(3)).with_probability(0.5).optional().cut_after_bytes(5))",
                (FaultRule::sends(None)
                    .times(2)
                    .after(Duration::from_secs(3)))
                .with_probability(0.5)
                .optional()
                .cut_after_bytes(5),
            ),
            (
                r#"receives SUBSCRIBE packet_id 7 refuse 0x87 "no""#,
                r#".rule(FaultRule::receives(PacketType::Subscribe).packet_id(7).refuse_with(ReasonCode::NotAuthorized, "no"))"#,
                (FaultRule::receives(PacketType::Subscribe).packet_id(7))
                    .refuse_with(ReasonCode::NotAuthorized, "no"),
            ),
            (
                "sends PUBREC duplicate without_dup after 20us",
                ".rule(FaultRule::sends(PacketType::PubRec).duplicate_after(Duration::from_micros(20), false))",
                FaultRule::sends(PacketType::PubRec)
                    .duplicate_after(Duration::from_micros(20), false),
            ),
            (
                "sends PUBLISH replace 0x0aff",
                ".rule(FaultRule::sends(PacketType::Publish).replace(vec![10, 255]))",
                FaultRule::sends(PacketType::Publish).replace(vec![10, 255]),
            ),
        ];
        for (text, printed, rule) in pairs {
            assert_eq!(code(text), printed);
            assert_eq!(text.parse(), Ok(rule));
        }
    }

    #[test]
    fn the_code_of_an_event_makes_the_same_event() {
        let pairs = [
            (
                "at packet 40 restart down_for 2s keeps sessions",
                ".event(EventTime::Packet(40), BrokerVerb::restart(Duration::from_secs(2), RestartKeeps { sessions: true, retained: false }))",
                FaultScript::new().event(
                    EventTime::Packet(40),
                    BrokerVerb::restart(
                        Duration::from_secs(2),
                        RestartKeeps {
                            sessions: true,
                            retained: false,
                        },
                    ),
                ),
            ),
            (
                "at 3s partition for 7ns hangs",
                ".event(EventTime::After(Duration::from_secs(3)), BrokerVerb::partition(Duration::from_nanos(7), true))",
                FaultScript::new().event(
                    EventTime::After(Duration::from_secs(3)),
                    BrokerVerb::partition(Duration::from_nanos(7), true),
                ),
            ),
        ];
        for (text, printed, script) in pairs {
            assert_eq!(code(text), printed);
            assert_eq!(text.parse(), Ok(script));
        }
    }
}
