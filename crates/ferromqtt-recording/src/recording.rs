//! Reads a recording.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::shown::peer_text;
use thiserror::Error;

use crate::entry::{RecordedEntry, RecordedEvent, RecordedPacket};
use crate::format::{ClosedBy, Receiver, VERSION};
use crate::json::JsonValue;
use crate::read_json;

/// What went by some links, read from what a [`Recorder`](crate::Recorder) has written.
#[derive(Clone)]
pub struct Recording {
    payloads: bool,
    entries: Vec<RecordedEntry>,
}

debug_fields!(Recording {
    payloads,
    entries: count
});

/// Why a file is no recording.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordingError {
    /// It cannot be read, or is no text.
    #[error("cannot read the recording {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is not what a recording has there.
    #[error("line {line} is no line of a recording: {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something is wrong with what a file holds.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<Self>,
    },
    /// It was written by a later version of this library.
    #[error(
        "the recording has version {version} of the format, and this library reads version 1: update it"
    )]
    Version {
        /// The version in its first line.
        version: u64,
    },
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, and when it is no recording: with the file and the number of the first line that is wrong.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, RecordingError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| RecordingError::Unreadable {
            path: path.to_owned(),
            error,
        })?;
        text.parse().map_err(|error| RecordingError::File {
            path: path.to_owned(),
            error: Box::new(error),
        })
    }

    /// Whether it has payloads, and the bytes of packets: what a replay needs.
    pub const fn has_payloads(&self) -> bool {
        self.payloads
    }

    /// What it holds, in order.
    pub fn entries(&self) -> &[RecordedEntry] {
        &self.entries
    }

    /// All of it for people, a line each: the time, the link and its client, and the packet with an arrow that points to the
    /// server (`->`) or to the client (`<-`). Long values are cut.
    pub fn show(&self) -> String {
        let mut text = String::new();
        for entry in &self.entries {
            let at = entry.at.as_secs_f64();
            let name = name_of(entry.link, entry.client.as_deref());
            let _ = writeln!(text, "{at:>12.6} s  {name}  {entry}"); // a String takes everything
        }
        text
    }
}

/// A link for people.
pub(crate) fn name_of(link: u64, client: Option<&str>) -> String {
    match client {
        Some(client) => format!("link {link} ({})", peer_text(client, &[])),
        None => format!("link {link}"),
    }
}

/// Reads the text of a file. A last line that has no end is left out if it cannot be read: the program that wrote it was
/// killed.
impl std::str::FromStr for Recording {
    type Err = RecordingError;

    fn from_str(text: &str) -> Result<Self, RecordingError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text); // some editors put it there
        let (whole, rest) = match text.rfind('\n') {
            Some(at) => text.split_at(at + 1),
            None => ("", text),
        };
        let mut lines = whole.trim_end().lines().enumerate(); // blank lines at the end say nothing
        let mut latest = Duration::ZERO;
        let header = lines.next().map(|(_, line)| line);
        let payloads = read_header(header.unwrap_or(rest))?;
        let mut entries = Vec::new();
        for (index, line) in lines {
            let line_number = index + 1;
            let entry = read_line(line_number, line, payloads)
                .and_then(|entry| match entry.at < latest {
                    true => Err("its time, `at`, is earlier than that of the line before"),
                    false => Ok(entry),
                })
                .map_err(|problem| RecordingError::Line {
                    line: line_number,
                    problem,
                })?;
            latest = entry.at;
            entries.push(entry);
        }
        if header.is_some()
            && !rest.is_empty()
            && let Ok(entry) = read_line(entries.len() + 2, rest, payloads)
            && entry.at >= latest
        {
            entries.push(entry);
        }
        Ok(Self { payloads, entries })
    }
}

/// Returns whether there are payloads.
fn read_header(line: &str) -> Result<bool, RecordingError> {
    let wrong = |problem| RecordingError::Line { line: 1, problem };
    let header = read_json::parse(line);
    let version = header
        .as_ref()
        .and_then(|it| it.get("mqttlog"))
        .and_then(JsonValue::number);
    match version {
        None => return Err(wrong("the first line begins with {\"mqttlog\":1")),
        Some(VERSION) => {}
        Some(version) => return Err(RecordingError::Version { version }),
    }
    match header.as_ref().and_then(|it| it.get("payloads")) {
        Some(JsonValue::Bool(payloads)) => Ok(*payloads),
        _ => Err(wrong("it does not say whether there are `payloads`")),
    }
}

fn read_line(line: usize, text: &str, payloads: bool) -> Result<RecordedEntry, &'static str> {
    let Some(JsonValue::Object(members)) = read_json::parse(text) else {
        return Err("it is no JSON object");
    };
    let mut fields = Vec::new();
    let (mut at, mut link, mut client) = (None, None, None);
    let (mut to, mut name, mut event, mut bytes, mut is_whole) = (None, None, None, None, true);
    for (member, value) in members {
        match (&*member, value) {
            ("at", JsonValue::Number(digits)) => at = read_time(&digits),
            ("link", value) => link = value.number(),
            ("client", JsonValue::Text(text)) => client = Some(text),
            ("event", JsonValue::Text(text)) => event = Some(text),
            ("to", JsonValue::Text(text)) => to = Some(text),
            ("packet", JsonValue::Text(text)) => name = Some(text),
            ("bytes", JsonValue::Text(text)) => {
                bytes = Some(read_hex(&text).ok_or("its `bytes` are no hexadecimal digits")?);
            }
            (_, value) => {
                is_whole &= !["malformed", "incomplete", "left_out"].contains(&&*member);
                fields.push((member, value));
            }
        }
    }
    let at = at.ok_or("it has no time, `at`, in seconds")?;
    let link = link.ok_or("it has no number of its `link`")?;
    let event = match (event.as_deref(), name) {
        (Some("opened"), None) => RecordedEvent::Opened,
        (Some("closed by client"), None) => RecordedEvent::Closed(ClosedBy::Client),
        (Some("closed by server"), None) => RecordedEvent::Closed(ClosedBy::Server),
        (None, Some(name)) => {
            let to = match to.as_deref() {
                Some("server") => Receiver::Server,
                Some("client") => Receiver::Client,
                _ => return Err("its packet goes neither `to` the server nor to the client"),
            };
            if payloads && is_whole && bytes.is_none() {
                return Err("its packet has no `bytes`, which a recording with payloads has");
            }
            RecordedEvent::Packet(RecordedPacket {
                to,
                name,
                bytes,
                is_whole,
                fields,
            })
        }
        _ => return Err("it has neither a `packet` nor an `event` that is known"),
    };
    Ok(RecordedEntry {
        line,
        at,
        link,
        client,
        event,
    })
}

/// Seconds with at most six digits behind the point.
fn read_time(digits: &str) -> Option<Duration> {
    let (seconds, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |it: &str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 6 {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros))
}

fn read_hex(text: &str) -> Option<Bytes> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
