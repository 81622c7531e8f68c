//! A message from a line that `export --payload` has written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use ferromqtt_proto::packet::PublishRef;
use ferromqtt_proto::{Properties, ProtocolVersion, Publish, QoS, TopicName, Utf8String};
use ferromqtt_store::QuarantineReason;
use serde_json::{Map, Value};

/// The longest packet of MQTT, in bytes: a Remaining Length of 268,435,455 and five bytes before it.
const LONGEST_PACKET: usize = 268_435_455 + 5;

/// Members that say what the message was where it comes from, and nothing of what it becomes.
const PASSED_OVER: [&str; 8] = [
    "key",
    "payload_bytes",
    "disk_bytes",
    "accepted_at",
    "age_ms",
    "tries",
    "quarantined_at",
    "unreadable",
];

/// A message to accept.
pub(crate) struct ImportedMessage {
    pub(crate) publish: Publish,
    /// In milliseconds since 1970.
    pub(crate) expires_at: Option<u64>,
    pub(crate) keep_latest: bool,
    pub(crate) quarantine: Option<QuarantineReason>,
    /// Whether the server may have it.
    pub(crate) was_sent: bool,
}

impl ImportedMessage {
    /// Reads a line. The error says what is wrong with it, and nothing of what it says.
    pub(crate) fn read(line: &[u8]) -> Result<Self, String> {
        let members: Map<String, Value> =
            serde_json::from_slice(line).map_err(|error| match error.column() {
                0 => "JSON, and no object".to_owned(),
                column => format!("no JSON from column {column} on"),
            })?;
        let mut members = JsonMembers(members);
        for name in PASSED_OVER {
            members.0.remove(name);
        }
        let topic = members.text("topic")?.ok_or("topic is missing")?;
        let mut publish = Publish::new(
            TopicName::new(topic).map_err(|error| format!("topic: {error}"))?,
            members.payload()?,
        );
        publish.qos = match members.number("qos")? {
            None => QoS::AtMostOnce,
            Some(qos) => {
                (u8::try_from(qos).ok().and_then(QoS::from_value)).ok_or("qos must be 0, 1 or 2")?
            }
        };
        publish.retain = members.flag("retain")?;
        publish.properties = members.properties()?.map(Box::new);
        let state = members.text("state")?;
        let imported = Self {
            expires_at: members.number("expires_at")?,
            keep_latest: members.flag("keep_latest")?,
            was_sent: matches!(state.as_deref(), Some("sent" | "released")),
            quarantine: members.quarantine(state.as_deref())?,
            publish,
        };
        members.expect_empty("")?;
        imported.expect_fit()?;
        Ok(imported)
    }

    fn expect_fit(&self) -> Result<(), String> {
        let publish = &self.publish;
        let packet = PublishRef {
            dup: false,
            qos: publish.qos,
            retain: publish.retain,
            topic: publish.topic.as_utf8().as_bytes(),
            packet_id: None,
            properties: publish.properties.as_deref(),
            payload_len: publish.payload.len(),
        };
        match packet.packet_len(ProtocolVersion::V5) {
            // A Packet Identifier comes to it.
            length if length + 2 > LONGEST_PACKET => {
                Err("the message is larger than the largest packet of MQTT (256 MiB)".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The members of an object that have not been read yet. `null` is as good as nothing.
struct JsonMembers(Map<String, Value>);

impl JsonMembers {
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} must be a text")),
        }
    }

    fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(format!("{name} must be a whole number, 0 or more")),
            },
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, String> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(format!("{name} must be true or false")),
        }
    }

    fn base64(&mut self, name: &str) -> Result<Option<Bytes>, String> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        match BASE64.decode(text) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(_) => Err(format!("{name} is no Base64")),
        }
    }

    fn payload(&mut self) -> Result<Bytes, String> {
        match (self.text("payload")?, self.base64("payload_base64")?) {
            (Some(text), None) => Ok(text.into()),
            (None, Some(bytes)) => Ok(bytes),
            (None, None) => Err("there is no payload: export with --payload".to_owned()),
            (Some(_), Some(_)) => {
                Err("there are both payload and payload_base64: leave one out".to_owned())
            }
        }
    }

    fn quarantine(&mut self, state: Option<&str>) -> Result<Option<QuarantineReason>, String> {
        let why = self.text("why")?;
        let code = self.number("reason_code")?;
        match (state, why.as_deref()) {
            (None | Some("waits" | "sent" | "released"), None) => Ok(None),
            (Some("quarantined"), Some("refused")) => {
                let code = code.and_then(|code| u8::try_from(code).ok());
                let code = code.ok_or("reason_code must be the Reason Code of the refusal")?;
                Ok(Some(QuarantineReason::Refused(code)))
            }
            (Some("quarantined"), Some("too-large")) => Ok(Some(QuarantineReason::TooLarge)),
            (Some("quarantined"), Some("ends-connections")) => {
                Ok(Some(QuarantineReason::EndsConnections))
            }
            (Some("quarantined"), Some("uncertain")) => Ok(Some(QuarantineReason::Uncertain)),
            (Some("quarantined"), _) => Err(
                "why must be refused, too-large, ends-connections or uncertain in quarantine"
                    .to_owned(),
            ),
            (_, Some(_)) => Err("why goes with the state quarantined alone".to_owned()),
            (Some(_), None) => Err("state must be waits, sent, released or quarantined".to_owned()),
        }
    }

    fn properties(&mut self) -> Result<Option<Properties>, String> {
        let mut members = match self.take("properties") {
            None => return Ok(None),
            Some(Value::Object(members)) => Self(members),
            Some(_) => return Err("properties must be an object".to_owned()),
        };
        let mut properties = Properties {
            message_expiry_interval: match members.number("message_expiry_interval")? {
                None => None,
                Some(seconds) => Some(
                    u32::try_from(seconds)
                        .map_err(|_| "message_expiry_interval must fit into 32 bits")?,
                ),
            },
            content_type: members.mqtt_text("content_type")?,
            response_topic: match members.text("response_topic")? {
                None => None,
                Some(topic) => {
                    let topic = TopicName::new(topic);
                    let topic = topic.map_err(|error| format!("response_topic: {error}"))?;
                    Some(topic.as_utf8().clone())
                }
            },
            correlation_data: members.base64("correlation_data_base64")?,
            ..Properties::default()
        };
        if let Some(flag) = members.number("payload_format_indicator")? {
            properties.payload_format_indicator = match flag {
                0 => Some(false),
                1 => Some(true),
                _ => return Err("payload_format_indicator must be 0 or 1".to_owned()),
            };
        }
        let length = properties.correlation_data.as_ref().map_or(0, Bytes::len);
        if length > usize::from(u16::MAX) {
            return Err("correlation_data_base64 is longer than 65,535 bytes".to_owned());
        }
        members.user_properties(&mut properties)?;
        members.expect_empty("properties.")?;
        Ok((!properties.is_empty()).then_some(properties))
    }

    fn mqtt_text(&mut self, name: &str) -> Result<Option<Utf8String>, String> {
        let text = self.text(name)?.map(Utf8String::from_string).transpose();
        text.map_err(|error| format!("{name}: {error}"))
    }

    fn user_properties(&mut self, properties: &mut Properties) -> Result<(), String> {
        let wrong = || "user_properties must be a list of pairs of texts".to_owned();
        let Some(pairs) = self.take("user_properties") else {
            return Ok(());
        };
        let pairs: Vec<[String; 2]> = serde_json::from_value(pairs).map_err(|_| wrong())?;
        for [name, value] in pairs {
            let pushed = properties.user_properties.try_push(&name, &value);
            pushed.map_err(|error| format!("user_properties: {error}"))?;
        }
        Ok(())
    }

    /// A member that is mistyped would be left out without a word.
    fn expect_empty(&self, of: &str) -> Result<(), String> {
        let left_out = ["correlation_data_bytes", "user_properties_count"];
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) if left_out.contains(&name.as_str()) => Err(format!(
                "{of}{name} stands for what was left out: export with --payload"
            )),
            Some(name) => Err(format!(
                "{of}{} is no member that is known",
                ferromqtt_proto::shown::peer_text(name, &[])
            )),
        }
    }
}

#[cfg(test)]
#[path = "read_message_tests.rs"]
mod read_message_tests;
