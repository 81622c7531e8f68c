//! Scripts as Python, to be pasted into a test.

use std::fmt::Write;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};

use super::rule_code::{CodeCall, CodeLanguage, rule_code};
use super::script::{FaultScript, ScriptEntry};
use crate::faults::{CutPoint, duration_text};
use crate::journal::BrokerSide;

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
                ScriptEntry::Rule(rule) => {
                    writeln!(code, "broker.{}", rule_code::<PythonCode>(rule))
                }
                ScriptEntry::Event(event) => {
                    writeln!(code, "broker.play_faults({})", literal(&event.to_string()))
                }
            };
        }
        code
    }
}

/// Writes rules as Python.
struct PythonCode;

impl CodeLanguage for PythonCode {
    fn beginning(side: BrokerSide, kind: Option<PacketType>, conditions: &[CodeCall]) -> String {
        let kind = kind.map(|kind| kind.name().to_owned());
        let conditions = (conditions.iter()).map(|(name, value)| format!("{name}={value}"));
        let arguments: Vec<_> = kind.into_iter().chain(conditions).collect();
        format!("{side}({})", arguments.join(", "))
    }

    fn text(text: &str) -> String {
        literal(text)
    }

    fn duration(time: Duration) -> String {
        literal(&duration_text(time))
    }

    fn qos(qos: QoS) -> String {
        qos.value().to_string()
    }

    fn reason(reason: ReasonCode) -> String {
        format!("0x{:02X}", reason.value())
    }

    fn bytes(bytes: &[u8]) -> String {
        let mut hex = String::new();
        for byte in bytes {
            let _ = write!(hex, "{byte:02x}");
        }
        format!("bytes.fromhex(\"{hex}\")")
    }

    fn duplicate(dup: bool, after: Duration) -> CodeCall {
        let dup = (!dup).then(|| "dup=False".to_owned());
        let after = (!after.is_zero()).then(|| format!("after={}", Self::duration(after)));
        let arguments: Vec<_> = dup.into_iter().chain(after).collect();
        ("duplicate", arguments.join(", "))
    }

    fn reorder(with_next: u32) -> CodeCall {
        ("reorder", format!("with_next={with_next}"))
    }

    fn cut(at: CutPoint, reset: bool) -> Vec<CodeCall> {
        let at = match at {
            CutPoint::After => None,
            CutPoint::Before => Some("before=True".to_owned()),
            CutPoint::AfterBytes(bytes) => Some(format!("after_bytes={bytes}")),
        };
        let reset = reset.then(|| "reset=True".to_owned());
        let arguments: Vec<_> = at.into_iter().chain(reset).collect();
        vec![("cut", arguments.join(", "))]
    }

    fn refuse_with(reason: ReasonCode, text: &str) -> CodeCall {
        let arguments = format!("{}, {}", Self::reason(reason), literal(text));
        ("refuse", arguments)
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
