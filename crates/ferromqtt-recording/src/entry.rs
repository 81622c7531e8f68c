//! What a line of a recording says.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::debug_fields;
use ferromqtt_proto::packet::{Packet, ProtocolVersion};
use ferromqtt_proto::shown::peer_text;

use crate::fields;
use crate::format::{ClosedBy, Receiver};
use crate::json::JsonValue;
use crate::mask::LinkSecrets;

/// A line of a [`Recording`](crate::Recording). Its text is what [`Recording::show`](crate::Recording::show) has of it, without
/// the time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecordedEntry {
    /// The number of the line in the file, from 1.
    pub line: usize,
    /// How long after the first link was opened.
    pub at: Duration,
    /// The number of the link.
    pub link: u64,
    /// The Client Identifier, once it is known.
    pub client: Option<String>,
    /// What happened.
    pub event: RecordedEvent,
}

/// What happened on a link.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecordedEvent {
    /// The client opened it.
    Opened,
    /// It ended.
    Closed(ClosedBy),
    /// A packet went by, whole or in part.
    Packet(RecordedPacket),
}

/// A packet of a recording.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordedPacket {
    /// Who got it.
    pub to: Receiver,
    /// Its type, by the standard's name, such as `PUBLISH`; `?` where its first byte names none.
    pub name: String,
    /// Its bytes, if the recording has [them](crate::RecordedPayloads::Whole). Those of a packet of the server can be sent
    /// again; in others what authenticates is masked.
    pub bytes: Option<Bytes>,
    /// Whether it is one packet that can be read. Otherwise it is malformed, or its end is missing.
    pub is_whole: bool,
    pub(crate) fields: Vec<(String, JsonValue)>,
}

debug_fields!(RecordedPacket {
    to,
    name,
    bytes: masked,
    is_whole,
    fields: count
});

impl RecordedPacket {
    /// A packet at hand, for a text about it: with the lengths of its data instead of the data, and without its bytes.
    pub fn of(packet: &Packet, to: Receiver, version: ProtocolVersion) -> Self {
        let mut packet = packet.clone();
        LinkSecrets::default().mask(&mut packet);
        let mut fields = fields::of_packet(&packet, version, false).members;
        for (_, value) in &mut fields {
            remove_hashes(value);
        }
        Self {
            to,
            name: packet.packet_type().name().to_owned(),
            bytes: None,
            is_whole: true,
            fields,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&JsonValue> {
        self.fields
            .iter()
            .find(|(it, _)| it == name)
            .map(|(_, it)| it)
    }

    pub(crate) fn packet_id(&self) -> Option<u64> {
        self.field("packet_id").and_then(JsonValue::number)
    }

    /// What makes two packets of a direction the same step of a program: a type, and a topic or filters.
    pub(crate) fn key(&self) -> String {
        let topic = self
            .field("topic")
            .and_then(JsonValue::text)
            .unwrap_or_default();
        let filters = self
            .field("filters")
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("{} {topic} {filters}", self.name)
    }
}

/// `-> PUBLISH topic "a", qos 1`; the arrow points to the server or, as `<-`, to the client.
impl fmt::Display for RecordedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.event {
            RecordedEvent::Opened => f.write_str("-- opened --"),
            RecordedEvent::Closed(ClosedBy::Client) => f.write_str("-- closed by the client --"),
            RecordedEvent::Closed(ClosedBy::Server) => f.write_str("-- closed by the server --"),
            RecordedEvent::Packet(packet) => write!(f, "{packet}"),
        }
    }
}

impl fmt::Display for RecordedPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.to {
            Receiver::Server => "->",
            Receiver::Client => "<-",
        };
        write!(f, "{arrow} {}", peer_text(&self.name, &[]))?;
        for (index, (name, value)) in self.fields.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator} {} {}", peer_text(name, &[]), shown(value))?;
        }
        Ok(())
    }
}

/// Leaves the lengths of data alone. A hash is there to be compared, and tells a reader nothing.
fn remove_hashes(value: &mut JsonValue) {
    if let JsonValue::Object(members) = value {
        members.retain(|(name, _)| name != "hash");
        members
            .iter_mut()
            .for_each(|(_, member)| remove_hashes(member));
    }
}

/// How much of a value is shown, in characters.
const MOST_SHOWN: usize = 120;

/// A value for people: data as its length and its text or hash, all else as it is in the file. Long ones are cut.
pub(crate) fn shown(value: &JsonValue) -> String {
    let text = match value.get("length").and_then(JsonValue::number) {
        Some(length) => {
            let bytes = if length == 1 { "byte" } else { "bytes" };
            let contents = match (value.get("text"), value.get("hash")) {
                (Some(text), _) => format!(" {text}"),
                (None, Some(hash)) => {
                    format!(" hash {}", peer_text(hash.text().unwrap_or_default(), &[]))
                }
                (None, None) => String::new(),
            };
            format!("{length} {bytes}{contents}")
        }
        None => value.to_string(),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
