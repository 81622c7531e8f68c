//! Scripts as Python, to be pasted into a test.

use std::fmt::Write;

use super::script::{FaultScript, ScriptEntry};
use crate::faults::{CutPoint, FaultAction, FaultRule, FaultTimes, duration_text};
use crate::journal::BrokerSide;
use ferromqtt_proto::packet::PacketType;

impl FaultScript {
    /// The script as lines of Python, on a `TestBroker` named `broker`. The names of packets are those of
    /// `ferromqtt.testing`.
    ///
    /// ```
    /// use ferromqtt_testing::FaultScript;
    ///
    /// let script: FaultScript = "sends PUBACK nth 3 lose, cut\nat packet 9 restart".parse()?;
    /// let code = "broker.sends(PUBACK).nth(3).lose().cut()\nbroker.play_faults(\"at packet 9 restart\")\n";
    /// assert_eq!(script.python_code(), code);
    /// # Ok::<_, ferromqtt_testing::FaultScriptError>(())
    /// ```
    pub fn python_code(&self) -> String {
        let mut code = String::new();
        for entry in &self.entries {
            let _ = match entry {
                ScriptEntry::Rule(rule) => writeln!(code, "broker.{}", rule_code(rule)),
                ScriptEntry::Event(event) => {
                    writeln!(code, "broker.play_faults({})", literal(&event.to_string()))
                }
            };
        }
        code
    }
}

fn rule_code(rule: &FaultRule) -> String {
    let FaultRule {
        place,
        timing,
        actions,
    } = rule;
    let mut arguments: Vec<String> = Vec::new();
    arguments.extend(place.kind.map(PacketType::name).map(str::to_owned));
    arguments.extend(
        place
            .client
            .as_deref()
            .map(|it| format!("client={}", literal(it))),
    );
    arguments.extend(
        place
            .topic
            .as_deref()
            .map(|it| format!("topic={}", literal(it))),
    );
    arguments.extend(place.qos.map(|qos| format!("qos={}", qos.value())));
    arguments.extend(place.packet_id.map(|id| format!("packet_id={id}")));
    let side = match place.side {
        BrokerSide::Sends => "sends",
        BrokerSide::Receives => "receives",
    };
    let mut code = format!("{side}({})", arguments.join(", "));
    let mut call = |word: &str, argument: String| {
        let _ = write!(code, ".{word}({argument})");
    };
    if timing.nth != 1 {
        call("nth", timing.nth.to_string());
    }
    match timing.times {
        None => {}
        Some(FaultTimes::Exactly(times)) => call("times", times.to_string()),
        Some(FaultTimes::Always) => call("always", String::new()),
    }
    if !timing.after.is_zero() {
        call("after", literal(&duration_text(timing.after)));
    }
    if timing.probability != 1.0 {
        call("with_probability", format!("{:?}", timing.probability));
    }
    if timing.optional {
        call("optional", String::new());
    }
    for action in actions {
        let (word, argument) = action_code(action);
        call(word, argument);
    }
    code
}

/// The word for an action, and its arguments.
fn action_code(action: &FaultAction) -> (&'static str, String) {
    let none = String::new;
    match action {
        FaultAction::Lose => ("lose", none()),
        FaultAction::Duplicate { dup, after } => {
            let dup = (!dup).then(|| "dup=False".to_owned());
            let after =
                (!after.is_zero()).then(|| format!("after={}", literal(&duration_text(*after))));
            let arguments: Vec<_> = dup.into_iter().chain(after).collect();
            ("duplicate", arguments.join(", "))
        }
        FaultAction::Delay(time) => ("delay", literal(&duration_text(*time))),
        FaultAction::Hold => ("hold", none()),
        FaultAction::Reorder { with_next } => ("reorder", format!("with_next={with_next}")),
        FaultAction::Cut { at, reset } => {
            let at = match at {
                CutPoint::After => None,
                CutPoint::Before => Some("before=True".to_owned()),
                CutPoint::AfterBytes(bytes) => Some(format!("after_bytes={bytes}")),
            };
            let reset = reset.then(|| "reset=True".to_owned());
            let arguments: Vec<_> = at.into_iter().chain(reset).collect();
            ("cut", arguments.join(", "))
        }
        FaultAction::Refuse { reason, text } => {
            let text = text.as_deref().map(|text| format!(", {}", literal(text)));
            let code = format!("0x{:02X}", reason.value());
            ("refuse", code + &text.unwrap_or_default())
        }
        FaultAction::Replace(bytes) => {
            let mut hex = String::new();
            for byte in bytes {
                let _ = write!(hex, "{byte:02x}");
            }
            ("replace", format!("bytes.fromhex(\"{hex}\")"))
        }
        FaultAction::Garbage(count) => ("garbage", count.to_string()),
        FaultAction::Truncate(count) => ("truncate", count.to_string()),
        FaultAction::Disconnect(reason) => ("disconnect", format!("0x{:02X}", reason.value())),
    }
}

/// A string of Python.
fn literal(text: &str) -> String {
    let mut literal = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => literal.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(literal, "\\u{:04x}", u32::from(character)); // all of them are below 0x100
            }
            _ => literal.push(character),
        }
    }
    literal + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_arguments() {
        let pairs = [
            (
                "receives PUBLISH client \"a\\\"b\\u{1}\" topic \"t/#\" qos 2 packet_id 7 times 3 after 2s optional cut before reset",
                r#"receives(PUBLISH, client="a\"b\u0001", topic="t/#", qos=2, packet_id=7).times(3).after("2s").optional().cut(before=True, reset=True)"#,
            ),
            (
                "sends any always with_probability 0.5 duplicate without_dup after 5ms",
                r#"sends().always().with_probability(0.5).duplicate(dup=False, after="5ms")"#,
            ),
            ("sends PUBLISH delay 3s", r#"sends(PUBLISH).delay("3s")"#),
            (
                "sends PUBLISH reorder 2",
                "sends(PUBLISH).reorder(with_next=2)",
            ),
            (
                "receives CONNECT refuse 0x87 \"no\"",
                r#"receives(CONNECT).refuse(0x87, "no")"#,
            ),
            ("sends any cut after_bytes 4", "sends().cut(after_bytes=4)"),
            (
                "sends PUBREC replace 0x0aff",
                r#"sends(PUBREC).replace(bytes.fromhex("0aff"))"#,
            ),
            ("sends PUBREC garbage 3", "sends(PUBREC).garbage(3)"),
            ("sends PUBREC truncate 3", "sends(PUBREC).truncate(3)"),
            ("sends PUBREC hold", "sends(PUBREC).hold()"),
            (
                "sends PINGRESP disconnect 0x8B",
                "sends(PINGRESP).disconnect(0x8B)",
            ),
        ];
        for (text, code) in pairs {
            let script: FaultScript = text.parse().unwrap();
            assert_eq!(script.python_code(), format!("broker.{code}\n"));
        }
    }
}
