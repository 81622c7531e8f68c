//! Takes out of a packet what authenticates somebody.

use std::collections::VecDeque;

use bytes::Bytes;
use ferromqtt_proto::packet::{Packet, Properties, UserProperties};
use ferromqtt_proto::shown::peer_text;
use ferromqtt_proto::{Utf8String, debug_fields};

/// What stands in the place of a secret.
pub(crate) const MASK: &str = "***";

/// So many secrets of a link are remembered, the latest.
const MOST_SECRETS: usize = 10;

/// What a client has authenticated with on one link, and the server must not be recorded to repeat.
#[derive(Default)]
pub(crate) struct LinkSecrets {
    secrets: VecDeque<Bytes>,
}

debug_fields!(LinkSecrets { secrets: count });

impl LinkSecrets {
    fn remember(&mut self, secret: &Bytes) {
        if self.secrets.len() == MOST_SECRETS {
            self.secrets.pop_front();
        }
        self.secrets.push_back(Bytes::copy_from_slice(secret));
    }

    /// Whether a text repeats one of the secrets.
    pub(crate) fn are_in(&self, text: &str) -> bool {
        let secrets: Vec<&[u8]> = self.secrets.iter().map(|secret| &secret[..]).collect();
        !secrets.is_empty() && peer_text(text, &secrets) != peer_text(text, &[])
    }

    /// Masks User Name, Password and Authentication Data, and every text of the packet that repeats one of the latter two.
    /// Returns whether anything was.
    pub(crate) fn mask(&mut self, packet: &mut Packet) -> bool {
        let mut masked = false;
        if let Packet::Connect(connect) = packet {
            if let Some(password) = &mut connect.password {
                self.remember(password);
                *password = Bytes::from_static(MASK.as_bytes());
                masked = true;
            }
            if let Some(user_name) = &mut connect.user_name {
                *user_name = mask();
                masked = true;
            }
        }
        let sent = match packet {
            Packet::Connect(it) => it.properties.authentication_data.as_ref(),
            Packet::Auth(it) => it.properties.authentication_data.as_ref(),
            _ => None,
        };
        if let Some(data) = sent {
            self.remember(data);
        }
        if let Some(properties) = properties_of(packet) {
            masked |= self.mask_properties(properties);
        }
        masked
    }

    fn mask_properties(&self, properties: &mut Properties) -> bool {
        let mut masked = false;
        if let Some(data) = &mut properties.authentication_data {
            *data = Bytes::from_static(MASK.as_bytes());
            masked = true;
        }
        let texts = [
            &mut properties.reason_string,
            &mut properties.response_information,
            &mut properties.server_reference,
        ];
        for text in texts.into_iter().flatten() {
            if self.are_in(text) {
                *text = mask();
                masked = true;
            }
        }
        let repeats = |(name, value): (&str, &str)| self.are_in(name) || self.are_in(value);
        if properties.user_properties.iter().any(repeats) {
            let mut kept = UserProperties::new();
            for (name, value) in &properties.user_properties {
                let (name, value) = match repeats((name, value)) {
                    true => (MASK, MASK),
                    false => (name, value),
                };
                let _ = kept.try_push(name, value); // both are strings of MQTT already
            }
            properties.user_properties = kept;
            masked = true;
        }
        masked
    }
}

fn mask() -> Utf8String {
    Utf8String::from_static(MASK).unwrap_or_default()
}

/// The properties of a packet other than PUBLISH, whose properties belong to the application.
fn properties_of(packet: &mut Packet) -> Option<&mut Properties> {
    match packet {
        Packet::Connect(it) => Some(&mut it.properties),
        Packet::ConnAck(it) => Some(&mut it.properties),
        Packet::PubAck(it) | Packet::PubRec(it) | Packet::PubRel(it) | Packet::PubComp(it) => {
            it.properties.as_deref_mut()
        }
        Packet::SubAck(it) => Some(&mut it.properties),
        Packet::UnsubAck(it) => Some(&mut it.properties),
        Packet::Disconnect(it) => Some(&mut it.properties),
        Packet::Auth(it) => Some(&mut it.properties),
        Packet::Publish(_)
        | Packet::Subscribe(_)
        | Packet::Unsubscribe(_)
        | Packet::PingReq
        | Packet::PingResp => None,
    }
}
