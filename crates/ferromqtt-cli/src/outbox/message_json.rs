//! A message as an object of JSON. docs/outbox-command-line.md has the members; `read_message` reads them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ferromqtt_proto::{Properties, ReasonCode};
use ferromqtt_store::{QuarantineReason, ReadError, StoredInfo};

use super::json_line::JsonLine;
use super::listing::ListedMessage;
use super::terminal_text::is_harmless_ascii;

/// How far a message has come.
pub(crate) const fn state(info: &StoredInfo) -> &'static str {
    match (info.quarantine, info.sent) {
        (Some(_), _) => "quarantined",
        (None, Some(sent)) if sent.released.is_some() => "released",
        (None, Some(_)) => "sent",
        (None, None) => "waits",
    }
}

/// Why a message is in quarantine, in one word.
pub(crate) const fn why(reason: QuarantineReason) -> &'static str {
    match reason {
        QuarantineReason::Refused(_) => "refused",
        QuarantineReason::TooLarge => "too-large",
        QuarantineReason::EndsConnections => "ends-connections",
        QuarantineReason::Uncertain => "uncertain",
        _ => "unknown",
    }
}

/// The Reason Code with which the server has refused a message in quarantine.
pub(crate) const fn reason_code(reason: QuarantineReason) -> Option<u8> {
    match reason {
        QuarantineReason::Refused(code) => Some(code),
        _ => None,
    }
}

/// The name of a Reason Code that a server has given.
pub(crate) fn code_name(code: u8) -> &'static str {
    ReasonCode::from_value(code).map_or("unknown", ReasonCode::name)
}

/// Why the bytes of a message cannot be read, in one word.
pub(crate) const fn unreadable(error: &ReadError) -> &'static str {
    match error {
        ReadError::Damaged => "damaged",
        _ => "disk",
    }
}

/// Whether what belongs to the application alone is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Payload, Correlation Data and User Properties are left out.
    LeftOut,
    Written,
}

/// What `ls --json` and `export` write of a message.
pub(crate) fn message_line(message: &ListedMessage, now: u64) -> JsonLine {
    let ListedMessage { info, content } = message;
    let mut line = JsonLine::new();
    line.member("key", &info.key);
    let publish = content.as_ref().ok().map(|content| &content.publish);
    line.member("topic", &publish.map(|it| it.topic.as_str()));
    line.member("qos", &publish.map(|it| it.qos as u8));
    line.member("retain", &publish.map(|it| it.retain));
    line.member("payload_bytes", &publish.map(|it| it.payload.len()));
    line.member("disk_bytes", &info.size);
    let accepted_at = content.as_ref().ok().map(|content| content.accepted_at);
    line.member("accepted_at", &accepted_at);
    line.member("age_ms", &accepted_at.map(|at| now.saturating_sub(at)));
    line.member("expires_at", &info.expires_at);
    line.member("keep_latest", &info.latest_of.is_some());
    line.member("state", state(info));
    line.member("tries", &info.sent.map_or(0, |sent| sent.tries));
    let reason = info.quarantine.map(|it| it.why);
    line.member("why", &reason.map(why));
    line.member("reason_code", &reason.and_then(reason_code));
    let since = info.quarantine.map(|it| it.at);
    line.member("quarantined_at", &since.filter(|at| *at > 0));
    if let Err(error) = content {
        line.member("unreadable", unreadable(error));
    }
    line
}

/// Adds what `export` alone writes of a message.
pub(crate) fn put_contents(line: &mut JsonLine, message: &ListedMessage, contents: Contents) {
    let Ok(content) = &message.content else {
        return;
    };
    if let Some(properties) = &content.publish.properties {
        line.object("properties", properties_object(properties, contents));
    }
    if contents == Contents::LeftOut {
        return;
    }
    let payload = &content.publish.payload;
    match plain_text(payload) {
        Some(text) => line.member("payload", text),
        None => line.member("payload_base64", &BASE64.encode(payload)),
    }
}

/// Bytes that JSON holds as text without making much more of them.
fn plain_text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    if is_harmless_ascii(bytes) {
        return Some(text);
    }
    let is_layout = |character: char| matches!(character, '\t' | '\n' | '\r');
    let is_plain = |character: char| !character.is_control() || is_layout(character);
    text.chars().all(is_plain).then_some(text)
}

fn properties_object(properties: &Properties, contents: Contents) -> JsonLine {
    let mut object = JsonLine::new();
    if let Some(is_text) = properties.payload_format_indicator {
        object.member("payload_format_indicator", &u8::from(is_text));
    }
    if let Some(interval) = properties.message_expiry_interval {
        object.member("message_expiry_interval", &interval);
    }
    if let Some(content_type) = &properties.content_type {
        object.member("content_type", content_type.as_str());
    }
    if let Some(topic) = &properties.response_topic {
        object.member("response_topic", topic.as_str());
    }
    let user_properties = &properties.user_properties;
    match contents {
        Contents::LeftOut => {
            if let Some(data) = &properties.correlation_data {
                object.member("correlation_data_bytes", &data.len());
            }
            if !user_properties.is_empty() {
                object.member("user_properties_count", &user_properties.len());
            }
        }
        Contents::Written => {
            if let Some(data) = &properties.correlation_data {
                object.member("correlation_data_base64", &BASE64.encode(data));
            }
            if !user_properties.is_empty() {
                let pairs: Vec<[&str; 2]> = (user_properties.iter())
                    .map(|(name, value)| [name, value])
                    .collect();
                object.member("user_properties", &pairs);
            }
        }
    }
    object
}
