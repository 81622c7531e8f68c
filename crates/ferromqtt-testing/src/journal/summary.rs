//! A packet in one line.

use std::fmt::{self, Write};

use ferromqtt_proto::packet::{Ack, Packet, PacketType, ProtocolVersion, ReasonCode};
use ferromqtt_proto::shown::peer_text;

use super::records::JournalPacket;

/// How much of a payload is shown, in bytes.
const SHOWN_PAYLOAD: usize = 32;

fn kind_name(kind: Option<PacketType>) -> &'static str {
    kind.map_or("no packet of MQTT", PacketType::name)
}

/// The beginning of a payload: as text where it is text, in hexadecimal digits otherwise.
pub(crate) fn shown_payload(payload: &[u8]) -> String {
    let front = &payload[..payload.len().min(SHOWN_PAYLOAD)];
    let cut = if payload.len() > front.len() {
        "…"
    } else {
        ""
    };
    let text = match std::str::from_utf8(front) {
        Ok(text) => Some(text),
        // The end may be in the middle of a character.
        Err(error) if !cut.is_empty() && error.error_len().is_none() => {
            std::str::from_utf8(&front[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) => format!("\"{}{cut}\"", peer_text(text, &[])),
        None => {
            let mut shown = String::from("0x");
            for byte in front {
                let _ = write!(shown, "{byte:02x}");
            }
            shown + cut
        }
    }
}

/// What there is to say, in order, separated by commas.
#[derive(Default)]
struct SummaryParts(Vec<String>);

impl SummaryParts {
    fn add(&mut self, part: impl Into<String>) {
        self.0.push(part.into());
    }

    fn flag(&mut self, flag: bool, name: &str) {
        if flag {
            self.add(name);
        }
    }

    fn reason(&mut self, reason: ReasonCode, kind: PacketType) {
        self.add(format!("0x{:02X} {}", reason.value(), reason.name_in(kind)));
    }

    fn text(&mut self, name: &str, text: &str) {
        self.add(format!("{name} \"{}\"", peer_text(text, &[])));
    }

    fn ack(&mut self, ack: &Ack, kind: PacketType) {
        self.add(format!("id {}", ack.packet_id));
        if ack.reason != ReasonCode::Success {
            self.reason(ack.reason, kind);
        }
    }
}

impl fmt::Display for JournalPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = kind_name(self.kind);
        let Some(packet) = &self.packet else {
            return write!(f, "{name} ({} bytes, malformed)", self.bytes);
        };
        let parts = parts(packet, self);
        f.write_str(name)?;
        if !parts.0.is_empty() {
            write!(f, " ({})", parts.0.join(", "))?;
        }
        Ok(())
    }
}

fn parts(packet: &Packet, seen: &JournalPacket) -> SummaryParts {
    let mut parts = SummaryParts::default();
    let kind = packet.packet_type();
    match packet {
        Packet::Connect(connect) => {
            parts.add(connect.protocol.to_string());
            parts.flag(connect.clean_start, "Clean Start");
            parts.flag(connect.will.is_some(), "will");
            if connect.keep_alive > 0 {
                parts.add(format!("Keep Alive {} s", connect.keep_alive));
            }
        }
        Packet::ConnAck(connack) => {
            parts.reason(connack.reason, kind);
            parts.flag(connack.session_present, "Session Present");
        }
        Packet::Publish(publish) => {
            if let Some(packet_id) = publish.packet_id {
                parts.add(format!("id {packet_id}"));
            }
            parts.add(format!("QoS {}", publish.qos.value()));
            parts.flag(publish.dup, "DUP");
            parts.flag(publish.retain, "RETAIN");
            parts.text("topic", seen.topic.as_ref().unwrap_or(&publish.topic));
            let payload = &publish.payload;
            let bytes = if payload.len() == 1 { "byte" } else { "bytes" };
            let shown = shown_payload(payload);
            parts.add(format!("payload {} {bytes} {shown}", payload.len()));
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            parts.ack(ack, kind);
        }
        Packet::Subscribe(subscribe) => {
            parts.add(format!("id {}", subscribe.packet_id));
            for (filter, options) in subscribe.filters.iter().take(3) {
                parts.text("filter", filter);
                parts.add(format!("QoS {}", options.qos.value()));
            }
            parts.flag(subscribe.filters.len() > 3, "…");
        }
        Packet::Unsubscribe(unsubscribe) => {
            parts.add(format!("id {}", unsubscribe.packet_id));
            for filter in unsubscribe.filters.iter().take(3) {
                parts.text("filter", filter);
            }
            parts.flag(unsubscribe.filters.iter().nth(3).is_some(), "…");
        }
        Packet::SubAck(suback) => {
            parts.add(format!("id {}", suback.packet_id));
            for reason in suback.reasons.iter().take(3) {
                parts.reason(*reason, kind);
            }
            parts.flag(suback.reasons.len() > 3, "…");
        }
        Packet::UnsubAck(unsuback) => {
            parts.add(format!("id {}", unsuback.packet_id));
            for reason in unsuback.reasons.iter().take(3) {
                parts.reason(*reason, kind);
            }
            parts.flag(unsuback.reasons.len() > 3, "…");
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => {
            if seen.version == ProtocolVersion::V5 {
                parts.reason(disconnect.reason, kind);
            }
        }
        Packet::Auth(auth) => parts.reason(auth.reason, kind),
    }
    parts
}
