//! A line for the log: its level, its text and its fields.

use std::borrow::Cow;
use std::fmt::{self, Display};

use ferromqtt_proto::shown::peer_text;

/// How severe a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineLevel {
    /// A packet, or a step that an error reports anyway.
    Debug,
    /// A connection was made, or ended as the application wanted it.
    Info,
    /// Something was lost, refused or is not as it should be.
    Warn,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineValue {
    /// A number.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// Words of this library's, or of the server's, fit for one line.
    Words(String),
    /// A topic, or filters: whatever characters MQTT permits.
    Name(String),
}

impl Display for LineValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Words(words) => words.fmt(f),
            Self::Name(name) => write!(f, "\"{}\"", peer_text(name, &[])),
        }
    }
}

/// The fields that a log without fields gets too. The text has the others in it, or they are for programs alone.
const RENDERED: &str = "topic filter filters reason messages ends not_sent unknown packets";

/// A line for the log. It shows no payload and no credentials.
#[derive(Clone, Debug)]
pub struct Line {
    /// How severe it is.
    pub level: LineLevel,
    /// What happened, without what stands in the fields.
    pub text: Cow<'static, str>,
    /// What differs between lines with the same text, by name. `times` is how often it has been.
    pub fields: Vec<(&'static str, LineValue)>,
    /// What stands between the text and the server, where the server is part of the sentence.
    pub(crate) before_server: Option<&'static str>,
    /// What it is counted as, if it may repeat: a text without what differs, and that.
    pub(crate) counted: Option<(&'static str, String)>,
}

impl Line {
    /// An attempt to connect begins.
    pub const fn connecting() -> Self {
        Self {
            level: LineLevel::Debug,
            text: Cow::Borrowed("connecting"),
            fields: Vec::new(),
            before_server: Some("to"),
            counted: None,
        }
    }

    pub(crate) fn new(level: LineLevel, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            level,
            text: text.into(),
            before_server: None,
            ..Self::connecting()
        }
    }

    /// A warning of what may repeat.
    pub(crate) fn warning(text: &'static str) -> Self {
        Self {
            counted: Some((text, String::new())),
            ..Self::new(LineLevel::Warn, text)
        }
    }

    /// A warning of what may repeat, counted for each `name`.
    pub(crate) fn about(name: &'static str, subject: impl Display, text: &'static str) -> Self {
        let mut line = Self::warning(text).name(name, &subject);
        line.counted = Some((text, subject.to_string()));
        line
    }

    /// The same with another text, counted for each `subject`.
    pub(crate) fn saying(mut self, text: String, subject: impl Display) -> Self {
        self.text = text.into();
        self.counted = (self.counted).map(|(kind, _)| (kind, subject.to_string()));
        self
    }

    pub(crate) fn field(mut self, name: &'static str, value: LineValue) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(crate) fn number(self, name: &'static str, number: impl TryInto<u64>) -> Self {
        let number = number.try_into().unwrap_or(u64::MAX);
        self.field(name, LineValue::Number(number))
    }

    pub(crate) fn words(self, name: &'static str, words: impl Display) -> Self {
        self.field(name, LineValue::Words(words.to_string()))
    }

    pub(crate) fn name(self, name: &'static str, value: impl Display) -> Self {
        self.field(name, LineValue::Name(value.to_string()))
    }

    /// The field of this name, if the line has it.
    pub fn get(&self, name: &str) -> Option<&LineValue> {
        let mut fields = self.fields.iter();
        (fields.find(|(it, _)| *it == name)).map(|(_, value)| value)
    }

    /// The whole line as one text, for a log without fields and spans: with the fields that the text does not have, with the
    /// server, unless that is empty, and with how often it has been.
    #[must_use]
    pub fn render(&self, server: &str) -> String {
        let mut text = self.text.clone().into_owned();
        let often = match (self.get("times"), self.get("left_out")) {
            (Some(times), Some(_)) => format!(" ({times} times in all)"),
            (Some(LineValue::Number(times @ 2..)), None) => format!(" ({times} times so far)"),
            _ => String::new(),
        };
        if let (Some(LineValue::Name(kind)), Some(LineValue::Words(subject))) =
            (self.get("kind"), self.get("subject"))
        {
            text = match (kind.as_str(), subject.as_str()) {
                ("", line) => return format!("{line}{often}"), // of the face's own
                (kind, "") => kind.to_owned(),
                (kind, subject) => format!("{kind}: {subject}"),
            };
        }
        let rendered = |name: &str| RENDERED.split(' ').any(|it| it == name);
        let mut details: Vec<_> = (self.fields.iter())
            .filter(|(name, _)| rendered(name))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        if self.get("session_present") == Some(&LineValue::Flag(true)) {
            details.push("session present".to_owned());
        }
        match self.before_server {
            _ if text.contains(server) => {} // or there is none
            Some(joint) => text += &format!(" {joint} {server}"),
            None => details.push(server.to_owned()),
        }
        if !details.is_empty() {
            text += &format!(" ({})", details.join(", "));
        }
        text + &often
    }
}
