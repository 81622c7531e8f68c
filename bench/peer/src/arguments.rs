//! The command line: one mode and its options.

use crate::sequence::NUMBER_SIZE;
use crate::source::Plan;

pub(crate) const USAGE: &str = "usage: ferromqtt-bench-peer sink|gate
       ferromqtt-bench-peer source --messages N [--warm-up N] [--payload BYTES] [--qos 0|1]";

/// What to do with each connection.
pub(crate) enum Mode {
    /// Count and acknowledge what the client publishes.
    Sink,
    /// The same, but acknowledge only what standard input allows.
    Gate,
    /// Send messages to the client after each SUBSCRIBE.
    Source(Plan),
}

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Mode, String> {
    match arguments.next().as_deref() {
        Some("sink") => match arguments.next() {
            None => Ok(Mode::Sink),
            Some(extra) => Err(format!("sink takes no option, got {extra:?}")),
        },
        Some("gate") => Ok(Mode::Gate),
        Some("source") => parse_source(arguments).map(Mode::Source),
        Some(other) => Err(format!("unknown mode {other:?}")),
        None => Err("no mode given".to_owned()),
    }
}

fn parse_source(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut messages = None;
    let mut plan = Plan {
        messages: 0,
        warm_up: 0,
        payload_size: 64,
        qos: 0,
    };
    while let Some(name) = arguments.next() {
        let text = arguments
            .next()
            .ok_or_else(|| format!("{name} needs a value"))?;
        let value: u32 = text
            .parse()
            .map_err(|_| format!("{name} needs a number, got {text:?}"))?;
        match name.as_str() {
            "--messages" => messages = Some(value),
            "--warm-up" => plan.warm_up = value,
            "--payload" if (NUMBER_SIZE..=1 << 20).contains(&(value as usize)) => {
                plan.payload_size = value as usize;
            }
            "--payload" => return Err("--payload must be between 4 and 1048576 bytes".to_owned()),
            "--qos" if value <= 1 => plan.qos = value as u8,
            "--qos" => return Err("--qos must be 0 or 1".to_owned()),
            _ => return Err(format!("unknown option {name:?}")),
        }
    }
    plan.messages = messages.ok_or("source needs --messages")?;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &str) -> Result<Mode, String> {
        parse(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn source_options_are_read() {
        let Ok(Mode::Source(plan)) =
            parse_words("source --messages 9 --warm-up 3 --payload 80 --qos 1")
        else {
            panic!("a complete source command line must be accepted");
        };
        assert_eq!(
            (plan.messages, plan.warm_up, plan.payload_size, plan.qos),
            (9, 3, 80, 1)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (words, part) in [
            ("", "no mode"),
            ("sing", "unknown mode"),
            ("sink --qos 1", "no option"),
            ("source", "needs --messages"),
            ("source --messages", "needs a value"),
            ("source --messages x", "needs a number"),
            ("source --messages 1 --qos 2", "0 or 1"),
            ("source --messages 1 --payload 3", "between"),
        ] {
            let message = parse_words(words).err().unwrap_or_default();
            assert!(message.contains(part), "{words:?} gave {message:?}");
        }
    }
}
