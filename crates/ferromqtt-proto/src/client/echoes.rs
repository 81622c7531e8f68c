//! A Reason String is for humans, and ends up in errors and logs. One that repeats what this client authenticates with is
//! replaced before anybody sees it.

use super::Client;
use crate::packet::{Packet, PacketId, Properties};
use crate::shown;
use crate::text::Utf8String;

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
