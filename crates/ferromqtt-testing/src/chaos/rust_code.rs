//! Scripts as Rust, to be pasted into a test.

use std::fmt::Write;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};

use super::rule_code::{CodeCall, CodeLanguage, rule_code};
use super::script::{BrokerVerb, EventTime, FaultScript, ScriptEntry};
use crate::faults::CutPoint;
use crate::journal::BrokerSide;
use crate::wire::RestartKeeps;

impl FaultScript {
    /// The script as an expression in Rust. Its names are those of this crate, `QoS` and `ReasonCode` of
    /// [`packet`](crate::packet) (`ferromqtt` has both too), and `std::time::Duration`.
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
                ScriptEntry::Rule(rule) => format!("rule({})", rule_code::<RustCode>(rule)),
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

/// Writes rules as Rust. Variants are named as Debug names them.
struct RustCode;

impl CodeLanguage for RustCode {
    fn beginning(side: BrokerSide, kind: Option<PacketType>, conditions: &[CodeCall]) -> String {
        let kind = match kind {
            None => "None".to_owned(),
            Some(kind) => format!("PacketType::{kind:?}"),
        };
        let mut code = format!("FaultRule::{side}({kind})");
        for (name, value) in conditions {
            let _ = write!(code, ".{name}({value})");
        }
        code
    }

    fn text(text: &str) -> String {
        format!("{text:?}")
    }

    fn duration(time: Duration) -> String {
        duration_code(time)
    }

    fn qos(qos: QoS) -> String {
        format!("QoS::{qos:?}")
    }

    fn reason(reason: ReasonCode) -> String {
        format!("ReasonCode::{reason:?}")
    }

    fn bytes(bytes: &[u8]) -> String {
        format!("vec!{bytes:?}")
    }

    fn duplicate(dup: bool, after: Duration) -> CodeCall {
        match dup && after.is_zero() {
            true => ("duplicate", String::new()),
            false => (
                "duplicate_after",
                format!("{}, {dup}", duration_code(after)),
            ),
        }
    }

    fn reorder(with_next: u32) -> CodeCall {
        ("reorder", with_next.to_string())
    }

    fn cut(at: CutPoint, reset: bool) -> Vec<CodeCall> {
        let cut = match at {
            CutPoint::After => ("cut", String::new()),
            CutPoint::Before => ("cut_before", String::new()),
            CutPoint::AfterBytes(bytes) => ("cut_after_bytes", bytes.to_string()),
        };
        let reset = reset.then(|| ("reset", String::new()));
        [cut].into_iter().chain(reset).collect()
    }

    fn refuse_with(reason: ReasonCode, text: &str) -> CodeCall {
        let arguments = format!("{}, {text:?}", Self::reason(reason));
        ("refuse_with", arguments)
    }
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
    use crate::faults::FaultRule;

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
        let pairs: [(&str, &str, FaultRule); 11] = [
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
            (
                "sends PUBREC reorder 2, cut before reset",
                ".rule(FaultRule::sends(PacketType::PubRec).reorder(2).cut_before().reset())",
                (FaultRule::sends(PacketType::PubRec).reorder(2))
                    .cut_before()
                    .reset(),
            ),
            (
                "sends PINGRESP hold",
                ".rule(FaultRule::sends(PacketType::PingResp).hold())",
                FaultRule::sends(PacketType::PingResp).hold(),
            ),
            (
                "receives CONNECT refuse 0x87",
                ".rule(FaultRule::receives(PacketType::Connect).refuse(ReasonCode::NotAuthorized))",
                FaultRule::receives(PacketType::Connect).refuse(ReasonCode::NotAuthorized),
            ),
            (
                "sends any duplicate, garbage 3",
                ".rule(FaultRule::sends(None).duplicate().garbage(3))",
                FaultRule::sends(None).duplicate().garbage(3),
            ),
            (
                "sends PUBACK truncate 1, disconnect 0x8B",
                ".rule(FaultRule::sends(PacketType::PubAck).truncate(1).disconnect(ReasonCode::ServerShuttingDown))",
                (FaultRule::sends(PacketType::PubAck).truncate(1))
                    .disconnect(ReasonCode::ServerShuttingDown),
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
