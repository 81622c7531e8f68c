//! Rules as TOML, both ways.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use ferromqtt_proto::packet::{PacketType, QoS};
use thiserror::Error;
use toml_edit::{ArrayOfTables, Document, Item, Table};

use super::action::FaultAction;
use super::check::FaultError;
use super::conditions::ConditionValue;
use super::rule::{FaultRule, FaultTimes};
use super::text::{
    ANY, FaultTextError, action_text, duration_text, parse_actions, parse_duration, parse_kind,
};
use crate::journal::BrokerSide;

/// What is wrong with a file of rules, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
#[non_exhaustive]
pub struct FaultFileError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub problem: FaultFileProblem,
}

/// What is wrong with a line of a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultFileProblem {
    /// It is no TOML.
    #[error("{0}")]
    Toml(String),
    /// The file has something else than rules.
    #[error("{key} is not known here: a file of faults has a [[fault]] for each rule")]
    NoFault {
        /// Its key.
        key: String,
    },
    /// A rule has a key that there is not.
    #[error(
        "{key} is no key of a fault: those are sends or receives, client, topic, qos, packet_id, nth, times, always, after, \
         with_probability, optional, do"
    )]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A rule lacks a key.
    #[error("a fault needs {wanted}")]
    Missing {
        /// The key.
        wanted: &'static str,
    },
    /// A value is not what the key takes.
    #[error("{key} must be {wanted}")]
    Value {
        /// The key.
        key: String,
        /// What it takes.
        wanted: &'static str,
    },
    /// A value of `do` is no action.
    #[error("do: {0}")]
    Action(FaultTextError),
    /// The rule makes no sense.
    #[error("{0}")]
    Rule(FaultError),
}

impl FaultRule {
    /// Reads the rules of a file in TOML, and checks them. Each is a `[[fault]]`, whose keys are the words of a rule. `sends`
    /// and `receives` take the name of a packet, or `any`; `do` takes an action as in the text of a rule, or a list of them.
    ///
    /// ```
    /// use ferromqtt_proto::packet::PacketType;
    /// use ferromqtt_testing::FaultRule;
    ///
    /// let rules = FaultRule::from_toml(
    ///     r#"
    ///     [[fault]]
    ///     sends = "PUBACK"
    ///     nth = 3
    ///     do = "lose"
    ///
    ///     [[fault]]
    ///     receives = "PUBLISH"
    ///     topic = "site/+/level"
    ///     always = true
    ///     do = ["delay 50ms", "cut after_bytes 5"]
    ///     "#,
    /// )?;
    /// assert_eq!(rules[0], FaultRule::sends(PacketType::PubAck).nth(3).lose());
    /// assert_eq!(FaultRule::from_toml(&FaultRule::to_toml(&rules))?, rules);
    /// # Ok::<_, ferromqtt_testing::FaultFileError>(())
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn from_toml(text: &str) -> Result<Vec<Self>, FaultFileError> {
        let document = Document::parse(text).map_err(|error| {
            let problem = FaultFileProblem::Toml(error.message().to_owned());
            at(text, error.span(), problem)
        })?;
        let nothing = ArrayOfTables::new();
        let mut faults = &nothing;
        for (key, item) in document.as_table() {
            match (key, item.as_array_of_tables()) {
                ("fault", Some(tables)) => faults = tables,
                _ => {
                    let span = key_span(document.as_table(), key);
                    let key = key.to_owned();
                    return Err(at(text, span, FaultFileProblem::NoFault { key }));
                }
            }
        }
        faults.iter().map(|table| read_rule(text, table)).collect()
    }

    /// The rules as TOML, which [`FaultRule::from_toml`] reads.
    pub fn to_toml(rules: &[Self]) -> String {
        let rules: Vec<_> = rules.iter().map(write_rule).collect();
        rules.join("\n")
    }
}

fn at(text: &str, span: Option<Range<usize>>, problem: FaultFileProblem) -> FaultFileError {
    let start = span.map_or(0, |span| span.start).min(text.len());
    let line = 1 + text.as_bytes()[..start]
        .iter()
        .filter(|&&it| it == b'\n')
        .count();
    FaultFileError { line, problem }
}

fn key_span(table: &Table, key: &str) -> Option<Range<usize>> {
    table.get_key_value(key)?.0.span()
}

fn read_rule(text: &str, table: &Table) -> Result<FaultRule, FaultFileError> {
    let side = |side, key| {
        let (value, wanted) = (
            table.get(key)?,
            "the name of a packet, such as \"PUBACK\", or \"any\"",
        );
        let kind = value.as_str().and_then(parse_kind);
        Some(kind.map(|kind| FaultRule::at(side, kind)).ok_or_else(|| {
            let problem = wrong(key, wanted);
            at(text, value.span(), problem)
        }))
    };
    let mut rule = match (
        side(BrokerSide::Sends, "sends"),
        side(BrokerSide::Receives, "receives"),
    ) {
        (Some(rule), None) | (None, Some(rule)) => rule?,
        _ => {
            let wanted = "either sends or receives";
            return Err(at(text, table.span(), FaultFileProblem::Missing { wanted }));
        }
    };
    for (key, item) in table {
        read_key(&mut rule, key, item)
            .map_err(|problem| at(text, item.span().or_else(|| key_span(table, key)), problem))?;
    }
    if rule.actions.is_empty() {
        let wanted = "do, which says what happens: do = \"lose\"";
        return Err(at(text, table.span(), FaultFileProblem::Missing { wanted }));
    }
    (rule.check()).map_err(|error| at(text, table.span(), FaultFileProblem::Rule(error)))?;
    Ok(rule)
}

fn wrong(key: &str, wanted: &'static str) -> FaultFileProblem {
    let key = key.to_owned();
    FaultFileProblem::Value { key, wanted }
}

fn read_key(rule: &mut FaultRule, key: &str, item: &Item) -> Result<(), FaultFileProblem> {
    let FaultRule { place, timing, .. } = rule;
    match key {
        "sends" | "receives" => {}
        "client" => place.client = Some(string(key, item)?),
        "topic" => place.topic = Some(string(key, item)?),
        "qos" => {
            let qos = item.as_integer().and_then(|it| u8::try_from(it).ok());
            place.qos =
                Some((qos.and_then(QoS::from_value)).ok_or_else(|| wrong(key, "0, 1 or 2"))?);
        }
        "packet_id" => {
            place.packet_id = Some(number(key, item, "a whole number from 1 to 65,535")?)
        }
        "nth" => timing.nth = number(key, item, COUNT)?,
        "times" => timing.set_times(FaultTimes::Exactly(number(key, item, COUNT)?)),
        "always" => {
            if flag(key, item)? {
                timing.set_times(FaultTimes::Always);
            }
        }
        "after" => timing.after = duration(key, item)?,
        "with_probability" => {
            let whole = item.as_integer().map(|it| it as f64);
            let probability = item.as_float().or(whole);
            timing.probability = probability.ok_or_else(|| wrong(key, "a number from 0 to 1"))?;
        }
        "optional" => timing.optional = flag(key, item)?,
        "do" => rule.actions = actions(key, item)?,
        _ => {
            let key = key.to_owned();
            return Err(FaultFileProblem::UnknownKey { key });
        }
    }
    Ok(())
}

fn string(key: &str, item: &Item) -> Result<String, FaultFileProblem> {
    let text = item.as_str().map(str::to_owned);
    text.ok_or_else(|| wrong(key, "a text in quotation marks"))
}

const COUNT: &str = "a whole number from 1 to 4,294,967,295";

fn number<T: TryFrom<i64>>(
    key: &str,
    item: &Item,
    wanted: &'static str,
) -> Result<T, FaultFileProblem> {
    let number = item.as_integer().and_then(|it| T::try_from(it).ok());
    number.ok_or_else(|| wrong(key, wanted))
}

fn flag(key: &str, item: &Item) -> Result<bool, FaultFileProblem> {
    item.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn duration(key: &str, item: &Item) -> Result<Duration, FaultFileProblem> {
    let duration = item.as_str().and_then(parse_duration);
    duration.ok_or_else(|| {
        wrong(
            key,
            "a duration such as \"3s\" or \"50ms\", of 10,000 days at most",
        )
    })
}

fn actions(key: &str, item: &Item) -> Result<Vec<FaultAction>, FaultFileProblem> {
    let one = |text: &str| parse_actions(text).map_err(FaultFileProblem::Action);
    let wanted = "an action such as \"lose\", or a list of them";
    if let Some(text) = item.as_str() {
        return one(text);
    }
    let list = item.as_array().ok_or_else(|| wrong(key, wanted))?;
    let mut actions = Vec::new();
    for value in list {
        let text = value.as_str().ok_or_else(|| wrong(key, wanted))?;
        actions.extend(one(text)?);
    }
    Ok(actions)
}

fn write_rule(rule: &FaultRule) -> String {
    let mut lines = vec!["[[fault]]".to_owned()];
    let mut line = |key: &str, value: String| lines.push(format!("{key} = {value}"));
    let FaultRule {
        place,
        timing,
        actions,
    } = rule;
    let kind = place.kind.map_or(ANY, PacketType::name);
    line(&place.side.to_string(), toml_text(kind));
    for (word, value) in place.conditions().chain(timing.conditions()) {
        let value = match value {
            ConditionValue::Text(text) => toml_text(text),
            ConditionValue::Qos(qos) => qos.value().to_string(),
            ConditionValue::Number(number) => number.to_string(),
            ConditionValue::Time(time) => toml_text(&duration_text(time)),
            ConditionValue::Probability(probability) => probability.to_string(),
            ConditionValue::Flag => true.to_string(),
        };
        line(word, value);
    }
    let actions: Vec<_> = (actions.iter())
        .map(|action| toml_text(&action_text(action)))
        .collect();
    match &actions[..] {
        [action] => line("do", action.clone()),
        actions => line("do", format!("[{}]", actions.join(", "))),
    }
    lines.join("\n") + "\n"
}

/// A basic string of TOML.
fn toml_text(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}
