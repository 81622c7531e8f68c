//! The lines of `ls -F`.

use std::fmt::Write;
use std::str::FromStr;

use super::listing::ListedMessage;
use super::message_json::{code_name, reason_code, state, why};
use super::terminal_text::terminal_text;

/// What the lines of a listing look like: text, and letters that stand for what a message has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineFormat(Vec<FormatPart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum FormatPart {
    Text(String),
    Letter(char),
}

/// The letters, as the help lists them.
const LETTERS: &str = "aeklpqrstwx";

impl FromStr for LineFormat {
    type Err = String;

    fn from_str(format: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            match character {
                '\\' => text.push(match characters.next() {
                    Some('n') => '\n',
                    Some('r') => '\r',
                    Some('t') => '\t',
                    Some('0') => '\0',
                    Some('\\') => '\\',
                    other => return Err(unknown("escape", '\\', other)),
                }),
                '%' => match characters.next() {
                    Some('%') => text.push('%'),
                    Some(letter) if LETTERS.contains(letter) => {
                        parts.push(FormatPart::Text(std::mem::take(&mut text)));
                        parts.push(FormatPart::Letter(letter));
                    }
                    other => return Err(unknown("letter", '%', other)),
                },
                other => text.push(other),
            }
        }
        parts.push(FormatPart::Text(text));
        Ok(Self(parts))
    }
}

fn unknown(what: &str, begins: char, character: Option<char>) -> String {
    let shown = character.map_or_else(String::new, |it| terminal_text(&it.to_string()));
    format!("{what} {begins}{shown} is none: 'ferromqtt outbox ls --help' lists them")
}

impl LineFormat {
    /// The line of a message at the time `now`. `-` stands for what it does not have.
    pub(crate) fn line(&self, message: &ListedMessage, now: u64) -> String {
        let mut line = String::new();
        for part in &self.0 {
            match part {
                FormatPart::Text(text) => line.push_str(text),
                FormatPart::Letter(letter) => match value(*letter, message, now) {
                    Some(value) => line.push_str(&value),
                    None => line.push('-'),
                },
            }
        }
        line
    }
}

fn value(letter: char, message: &ListedMessage, now: u64) -> Option<String> {
    let info = &message.info;
    let content = message.content.as_ref().ok();
    let publish = content.map(|content| &content.publish);
    match letter {
        'a' => content.map(|it| (now.saturating_sub(it.accepted_at) / 1_000).to_string()),
        'e' => (info.expires_at).map(|at| (at.saturating_sub(now) / 1_000).to_string()),
        'k' => Some(info.key.to_string()),
        'l' => publish.map(|it| it.payload.len().to_string()),
        'p' => publish.map(|it| terminal_text(&String::from_utf8_lossy(&it.payload))),
        'q' => publish.map(|it| (it.qos as u8).to_string()),
        'r' => publish.map(|it| u8::from(it.retain).to_string()),
        's' => Some(state(info).to_owned()),
        't' => publish.map(|it| terminal_text(&it.topic)),
        'w' => short_why(message),
        'x' => publish.map(|it| {
            it.payload.iter().fold(String::new(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        }),
        _ => None,
    }
}

/// Why a message is in quarantine, with the Reason Code, such as `refused:0x87`.
pub(crate) fn short_why(message: &ListedMessage) -> Option<String> {
    let reason = message.info.quarantine?.why;
    Some(match reason_code(reason) {
        Some(code) => format!("{}:0x{code:02X}", why(reason)),
        None => why(reason).to_owned(),
    })
}

/// The same for figures, with the name of the Reason Code.
pub(crate) fn long_why(reason: ferromqtt_store::QuarantineReason) -> String {
    match reason_code(reason) {
        Some(code) => format!("{} with 0x{code:02X} ({})", why(reason), code_name(code)),
        None => why(reason).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_of_unknown_letters_or_escapes_is_refused() {
        for wrong in ["%", "%z", "a\\", "\\q", "%\u{1b}"] {
            let error = wrong.parse::<LineFormat>().unwrap_err();
            assert!(
                error.contains("is none") && !error.contains('\u{1b}'),
                "{error}"
            );
        }
        let parts = "%k\\t%%%t".parse::<LineFormat>().unwrap().0;
        let text = |text: &str| FormatPart::Text(text.to_owned());
        let letter = FormatPart::Letter;
        assert_eq!(
            parts,
            [text(""), letter('k'), text("\t%"), letter('t'), text("")]
        );
    }
}
