//! A Reason String is for humans, and ends up in errors and logs. One that repeats what this client authenticates with is
//! replaced before anybody sees it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Client;
use crate::debug_fields;
use crate::options::Options;
use crate::packet::{Packet, PacketId, Properties};
use crate::shown::{self, Secrets};
use crate::text::Utf8String;

/// So many answers of this client in enhanced authentications are remembered, the latest.
const MOST_ANSWERS: usize = 8;

/// A longer text is not remembered.
const MOST_REMEMBERED: usize = 1_024;

/// What the server must not repeat on a connection.
#[derive(Default)]
pub(crate) struct Echoes {
    /// The Authentication Data that this client has sent in AUTH.
    answers: VecDeque<Bytes>,
    /// The secrets, prepared when the first text comes.
    prepared: Option<Secrets>,
    /// The text that came last and repeats none: servers say the same in each acknowledgement.
    harmless: String,
}

debug_fields!(Echoes {
    answers: count,
    prepared,
    harmless: length
});

impl Echoes {
    /// Remembers Authentication Data that is sent.
    pub(crate) fn answer(&mut self, data: Bytes) {
        if self.answers.len() == MOST_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(data);
        self.prepared = None;
        self.harmless.clear();
    }

    fn are_in(&mut self, text: &str, options: &Options) -> bool {
        if text == self.harmless {
            return false;
        }
        let prepared = self.prepared.get_or_insert_with(|| {
            let own = [
                options.password.as_deref(),
                options.properties.authentication_data.as_deref(),
            ];
            let answers = self.answers.iter().map(|data| &data[..]);
            Secrets::new(own.into_iter().flatten().chain(answers))
        });
        let found = prepared.are_in(text);
        if !found && text.len() <= MOST_REMEMBERED {
            self.harmless.clear();
            self.harmless.push_str(text);
        }
        found
    }
}

impl Client {
    /// Replaces the Reason String of a packet that the server sent, if it repeats the password or Authentication Data.
    pub(super) fn hide_echoes(&mut self, packet: &mut Packet) {
        // What answers nothing is shown to nobody, and a flood of it must not cost a search each.
        let ids = &self.session.ids;
        let answers = |id: PacketId| ids.owner(id).is_some();
        let properties = match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) if answers(ack.packet_id) => {
                ack.properties.as_deref_mut()
            }
            Packet::SubAck(suback) if answers(suback.packet_id) => Some(&mut suback.properties),
            Packet::UnsubAck(unsuback) if answers(unsuback.packet_id) => {
                Some(&mut unsuback.properties)
            }
            Packet::ConnAck(connack) => Some(&mut connack.properties),
            Packet::Disconnect(disconnect) => Some(&mut disconnect.properties),
            Packet::Auth(auth) => Some(&mut auth.properties),
            _ => None, // it has none, or nobody is shown it
        };
        if let Some(Properties {
            reason_string: Some(text),
            ..
        }) = properties
            && let Some(connection) = &mut self.connection
            && connection.echoes.are_in(text, &self.options)
        {
            *text = Utf8String::from_static(shown::REPEATS).unwrap_or_default();
        }
    }
}
