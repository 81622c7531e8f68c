//! Rules as text, both ways: `sends PUBACK client "pump-7" nth 3 lose, cut`.

use std::fmt::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS, ReasonCode};
use ferromqtt_proto::shown::Length;
use thiserror::Error;

use super::action::{CutPoint, FaultAction};
use super::conditions::{ConditionValue, RuleCondition};
use super::rule::{FaultPlace, FaultRule, FaultTimes, FaultTiming};
use super::tokens::{Word, Words, quoted, unexpected};
use crate::journal::BrokerSide;

/// What stands for packets of any type.
pub(super) const ANY: &str = "any";

/// A text that is no [`FaultRule`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultTextError {
    /// Something else should stand there.
    #[error("fault rule: {wanted} is missing before {found}")]
    Unexpected {
        /// What should.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// A value is not what it should be.
    #[error("fault rule: {found:?} is not {wanted}")]
    Value {
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// A text in quotation marks does not end, or holds an escape that there is not.
    #[error("fault rule: {0} is no text in quotation marks")]
    Quotes(String),
    /// A word that no rule has.
    #[error(
        "fault rule: {0:?} is no word of a rule: its conditions are client, topic, qos, packet_id, nth, times, always, after, with_probability and optional, and its actions lose, duplicate, delay, hold, reorder, cut, refuse, replace, garbage, truncate and disconnect"
    )]
    Unknown(String),
    /// A condition is said twice.
    #[error("fault rule: {0:?} stands there twice: leave one out")]
    Twice(String),
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rule_text(self, action_text))
    }
}

fn rule_text(rule: &FaultRule, text: fn(&FaultAction) -> String) -> String {
    let actions: Vec<_> = rule.actions.iter().map(text).collect();
    format!("{}{} {}", rule.place, rule.timing, actions.join(", "))
}

/// The text of a rule, for a journal: bytes that may be a payload are counted.
pub(super) fn shown_rule(rule: &FaultRule) -> String {
    rule_text(rule, shown_action)
}

/// The text of an action, for errors and `Debug`: bytes that may be a payload are counted.
pub(super) fn shown_action(action: &FaultAction) -> String {
    match action {
        FaultAction::Replace(bytes) => format!("replace ({:?})", Length(bytes.len())),
        other => action_text(other),
    }
}

impl fmt::Display for FaultPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or(ANY, PacketType::name);
        write!(f, "{} {kind}", self.side)?;
        (self.conditions()).try_for_each(|condition| write_condition(f, condition))
    }
}

/// A blank before each word that differs from the default.
impl fmt::Display for FaultTiming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.conditions()).try_for_each(|condition| write_condition(f, condition))
    }
}

fn write_condition(f: &mut fmt::Formatter<'_>, (word, value): RuleCondition<'_>) -> fmt::Result {
    match value {
        ConditionValue::Text(text) => write!(f, " {word} {}", quoted(text)),
        ConditionValue::Qos(qos) => write!(f, " {word} {}", qos.value()),
        ConditionValue::Number(number) => write!(f, " {word} {number}"),
        ConditionValue::Time(time) => write!(f, " {word} {}", duration_text(time)),
        ConditionValue::Probability(probability) => write!(f, " {word} {probability}"),
        ConditionValue::Flag => write!(f, " {word}"),
    }
}

impl fmt::Display for BrokerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sends => "sends",
            Self::Receives => "receives",
        })
    }
}

pub(super) fn action_text(action: &FaultAction) -> String {
    match action {
        FaultAction::Lose => "lose".to_owned(),
        FaultAction::Duplicate { dup, after } => {
            let mut text = "duplicate".to_owned();
            if !dup {
                text += " without_dup";
            }
            if !after.is_zero() {
                let _ = write!(text, " after {}", duration_text(*after));
            }
            text
        }
        FaultAction::Delay(time) => format!("delay {}", duration_text(*time)),
        FaultAction::Hold => "hold".to_owned(),
        FaultAction::Reorder { with_next } => format!("reorder {with_next}"),
        FaultAction::Cut { at, reset } => {
            let reset = if *reset { " reset" } else { "" };
            match at {
                CutPoint::After => format!("cut{reset}"),
                CutPoint::Before => format!("cut before{reset}"),
                CutPoint::AfterBytes(bytes) => format!("cut after_bytes {bytes}{reset}"),
            }
        }
        FaultAction::Refuse { reason, text } => {
            let text = text.as_ref().map(|text| format!(" {}", quoted(text)));
            format!(
                "refuse 0x{:02X}{}",
                reason.value(),
                text.unwrap_or_default()
            )
        }
        FaultAction::Replace(bytes) => {
            let mut text = "replace 0x".to_owned();
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text
        }
        FaultAction::Garbage(count) => format!("garbage {count}"),
        FaultAction::Truncate(count) => format!("truncate {count}"),
        FaultAction::Disconnect(reason) => format!("disconnect 0x{:02X}", reason.value()),
    }
}

/// A duration in the largest unit that holds it without a fraction.
pub(crate) fn duration_text(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    for (unit, length) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if nanoseconds.is_multiple_of(length) {
            return format!("{}{unit}", nanoseconds / length);
        }
    }
    format!("{nanoseconds}ns")
}

/// Reads a duration as rules for faults have it, a number and its unit: `3s`, `1.5s`, `50ms`, `20us`, `7ns`, `2m`, `1h`, `1d`. `None` for anything else, and for more than
/// 10,000 days.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    const LONGEST: u128 = 10_000 * 24 * 3600 * 1_000_000_000;
    let unit_at = text.find(|it: char| it.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 24 * 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || whole.len() > 20 || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction = fraction.parse::<u128>().ok()? * unit / scale;
    let nanoseconds = whole.parse::<u128>().ok()?.checked_mul(unit)? + fraction;
    if nanoseconds > LONGEST {
        return None;
    }
    let seconds = (nanoseconds / 1_000_000_000) as u64;
    Some(Duration::new(seconds, (nanoseconds % 1_000_000_000) as u32))
}

/// The type of packet with this name in the standard, or any.
pub(super) fn parse_kind(word: &str) -> Option<Option<PacketType>> {
    if word == ANY {
        return Some(None);
    }
    let mut all = PacketType::ALL.into_iter();
    all.find(|kind| kind.name() == word).map(Some)
}

impl FromStr for FaultRule {
    type Err = FaultTextError;

    fn from_str(text: &str) -> Result<Self, FaultTextError> {
        let mut words = Words::new(text);
        let side = match words.next()? {
            Some(Word::Plain("sends")) => BrokerSide::Sends,
            Some(Word::Plain("receives")) => BrokerSide::Receives,
            found => return Err(unexpected("sends or receives", found.as_ref())),
        };
        let kind = words.get("the name of a packet, or any", parse_kind)?;
        let mut rule = Self::at(side, kind);
        let mut seen = Vec::new();
        while let Some(word) = words.plain_if(is_condition) {
            if seen.contains(&word) {
                return Err(FaultTextError::Twice(word.to_owned()));
            }
            seen.push(word);
            condition(&mut rule, word, &mut words)?;
        }
        rule.actions = actions(&mut words)?;
        Ok(rule)
    }
}

fn is_condition(word: &str) -> bool {
    const CONDITIONS: [&str; 10] = [
        "client",
        "topic",
        "qos",
        "packet_id",
        "nth",
        "times",
        "always",
        "after",
        "with_probability",
        "optional",
    ];
    CONDITIONS.contains(&word)
}

fn condition(
    rule: &mut FaultRule,
    word: &str,
    words: &mut Words<'_>,
) -> Result<(), FaultTextError> {
    let FaultRule { place, timing, .. } = rule;
    match word {
        "client" => place.client = Some(words.quoted("a Client Identifier in quotation marks")?),
        "topic" => place.topic = Some(words.quoted("a Topic Filter in quotation marks")?),
        "qos" => {
            let qos = |word: &str| QoS::from_value(word.parse().ok()?);
            place.qos = Some(words.get("0, 1 or 2", qos)?);
        }
        "packet_id" => place.packet_id = Some(words.get(PACKET_ID, number)?),
        "nth" => timing.nth = words.get(COUNT, number)?,
        "times" => timing.set_times(FaultTimes::Exactly(words.get(COUNT, number)?)),
        "always" => timing.set_times(FaultTimes::Always),
        "after" => timing.after = words.get(DURATION, parse_duration)?,
        "with_probability" => timing.probability = words.get("a number from 0 to 1", number)?,
        _ => timing.optional = true,
    }
    Ok(())
}

const COUNT: &str = "a whole number from 1 to 4,294,967,295";
const PACKET_ID: &str = "a Packet Identifier, from 1 to 65,535";
const DURATION: &str = "a duration such as 3s or 50ms, of 10,000 days at most";

/// The actions of a rule: `lose, cut after_bytes 5`.
///
/// # Errors
/// What is wrong with the text.
#[cfg(feature = "faults-file")]
pub(super) fn parse_actions(text: &str) -> Result<Vec<FaultAction>, FaultTextError> {
    actions(&mut Words::new(text))
}

fn actions(words: &mut Words<'_>) -> Result<Vec<FaultAction>, FaultTextError> {
    let mut actions = vec![action(words)?];
    loop {
        match words.next()? {
            None => return Ok(actions),
            Some(Word::Comma) => actions.push(action(words)?),
            found => return Err(unexpected("a comma", found.as_ref())),
        }
    }
}

fn action(words: &mut Words<'_>) -> Result<FaultAction, FaultTextError> {
    const ACTION: &str = "an action such as lose or cut";
    let word = match words.next()? {
        Some(Word::Plain(word)) => word,
        found => return Err(unexpected(ACTION, found.as_ref())),
    };
    Ok(match word {
        "lose" => FaultAction::Lose,
        "duplicate" => {
            let dup = words.plain_if(|it| it == "without_dup").is_none();
            let after = match words.plain_if(|it| it == "after") {
                Some(_) => words.get(DURATION, parse_duration)?,
                None => Duration::ZERO,
            };
            FaultAction::Duplicate { dup, after }
        }
        "delay" => FaultAction::Delay(words.get(DURATION, parse_duration)?),
        "hold" => FaultAction::Hold,
        "reorder" => FaultAction::Reorder {
            with_next: words.get(COUNT, number)?,
        },
        "cut" => {
            let at = match words.plain_if(|it| matches!(it, "before" | "after_bytes")) {
                None => CutPoint::After,
                Some("before") => CutPoint::Before,
                Some(_) => CutPoint::AfterBytes(words.get(BYTES, number)?),
            };
            let reset = words.plain_if(|it| it == "reset").is_some();
            FaultAction::Cut { at, reset }
        }
        "refuse" => FaultAction::Refuse {
            reason: words.get(REASON, reason)?,
            text: words.quoted_if()?,
        },
        "replace" => FaultAction::Replace(words.get("bytes as 0x and digits", hex)?.into()),
        "garbage" => FaultAction::Garbage(words.get(BYTES, number)?),
        "truncate" => FaultAction::Truncate(words.get(BYTES, number)?),
        "disconnect" => FaultAction::Disconnect(words.get(REASON, reason)?),
        other => return Err(FaultTextError::Unknown(other.to_owned())),
    })
}

const BYTES: &str = "a number of bytes";
const REASON: &str = "a Reason Code such as 0x87";

fn number<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

fn reason(word: &str) -> Option<ReasonCode> {
    let value = match word.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16),
        None => word.parse(),
    };
    ReasonCode::from_value(value.ok()?)
}

fn hex(word: &str) -> Option<Vec<u8>> {
    let digits = word.strip_prefix("0x")?.as_bytes();
    let digit = |it: u8| char::from(it).to_digit(16).map(|it| it as u8);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    (digits.chunks_exact(2))
        .map(|two| Some(digit(two[0])? << 4 | digit(two[1])?))
        .collect()
}
