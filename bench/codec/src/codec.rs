//! What every codec must do, and the proof that all do the same.

use bytes::BytesMut;

use crate::ferromqtt::{Chunks, Ferromqtt};
use crate::measure::Work;
use crate::message::{Case, Message};
use crate::{protocol_core, rumqttc_v4, rumqttc_v5};

/// A codec that is used as its own client uses it.
pub(crate) trait Codec {
    /// Reads every packet of `chunk` into the codec's owned packet type, drops each, and tells how many there were.
    fn decode(&mut self, chunk: BytesMut) -> usize;

    /// Encodes the message `count` times into the kind of buffer that its client writes from; tells how many bytes.
    fn encode(&mut self, count: usize) -> usize;

    /// The message as one packet.
    fn packet(&self) -> Vec<u8>;

    /// What the codec reads in one packet.
    fn read(&self, packet: &[u8]) -> Message;
}

/// A row of the table.
pub(crate) struct Contestant {
    /// The crate's name.
    pub(crate) name: &'static str,
    /// What is special about it; mostly nothing.
    pub(crate) note: &'static str,
    pub(crate) codec: Box<dyn Codec>,
}

/// The rows for one case; ours first.
pub(crate) fn contestants(work: Work, case: &Case) -> Vec<Contestant> {
    let message = &case.message;
    let ours = |chunks| Box::new(Ferromqtt::new(message, case.version, chunks));
    let mut contestants = vec![Contestant::new(OURS, ours(Chunks::Reused))];
    if case.version.is_v5() {
        contestants.extend([
            Contestant::new("rumqttc", Box::new(rumqttc_v5::Rumqttc::new(message))),
            Contestant::new("mqtt-protocol-core", Box::new(protocol_core::v5(message))),
        ]);
    } else {
        contestants.extend([
            Contestant::new("rumqttc", Box::new(rumqttc_v4::Rumqttc::new(message))),
            Contestant::new("mqtt-protocol-core", Box::new(protocol_core::v311(message))),
        ]);
    }
    if work == Work::Encode {
        contestants.push(Contestant {
            name: OURS,
            note: ", new chunks",
            codec: ours(Chunks::New),
        });
    }
    contestants
}

pub(crate) const OURS: &str = "ferromqtt-proto";

impl Contestant {
    fn new(name: &'static str, codec: Box<dyn Codec>) -> Self {
        let note = "";
        Self { name, note, codec }
    }
}

/// Panics unless all write the same bytes and read the same message in them. Returns those bytes.
pub(crate) fn check_agreement(case: &Case, contestants: &mut [Contestant]) -> Vec<u8> {
    let expected = contestants[0].codec.packet();
    for Contestant { name, codec, .. } in contestants {
        assert_eq!(codec.packet(), expected, "{name} writes, {}", case.name);
        assert_eq!(
            codec.read(&expected),
            case.message,
            "{name} reads, {}",
            case.name
        );
        let two = BytesMut::from(&expected.repeat(2)[..]);
        assert_eq!(codec.decode(two), 2, "{name} counts, {}", case.name);
        assert_eq!(
            codec.encode(3),
            3 * expected.len(),
            "{name} counts, {}",
            case.name
        );
    }
    expected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_codecs_agree_on_every_case() {
        for case in Case::all() {
            let packet = check_agreement(&case, &mut contestants(Work::Encode, &case));
            let properties = match (case.version.is_v5(), case.message.message_expiry_interval) {
                (false, _) => 0,
                (true, None) => 1,
                (true, Some(_)) => 1 + 5,
            };
            let packet_id = if case.message.packet_id.is_some() {
                2
            } else {
                0
            };
            assert_eq!(packet.len(), 2 + 2 + 27 + packet_id + properties + 64);
        }
    }
}
