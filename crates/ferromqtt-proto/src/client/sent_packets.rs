//! The packets that a SUBSCRIBE or UNSUBSCRIBE is on the wire as: one, or several where a server takes few filters or bytes
//! in one.

use std::ops::Range;

use crate::packet::{PacketId, Properties, ReasonCode};

/// What a request is on the wire of this connection as.
#[derive(Debug, Default)]
pub(super) enum SentPackets {
    /// It is not.
    #[default]
    None,
    One(PacketId),
    Several(Vec<Part>),
}

/// One of several packets, for some of the filters.
#[derive(Debug)]
pub(super) struct Part {
    id: PacketId,
    filters: Range<usize>,
    /// What the server answered, once it has.
    answer: Option<(Vec<ReasonCode>, Properties)>,
}

/// Cuts filters into as few packets as are enough, in order. `lengths`: how many bytes each filter takes. A packet has `most`
/// filters at most, and `fits` tells whether one may have so many bytes of them. A filter that fits into none has one of its
/// own.
pub(super) fn cut(
    lengths: impl Iterator<Item = usize>,
    most: usize,
    fits: impl Fn(usize) -> bool,
) -> Vec<Range<usize>> {
    let mut packets: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (at, length) in lengths.enumerate() {
        match packets.last_mut() {
            Some(packet) if packet.len() < most && fits(bytes + length) => {
                packet.end = at + 1;
                bytes += length;
            }
            _ => {
                packets.push(at..at + 1);
                bytes = length;
            }
        }
    }
    packets
}

impl SentPackets {
    /// Packets with these identifiers, each for some of the filters.
    pub(super) fn new(ids: &[PacketId], packets: Vec<Range<usize>>) -> Self {
        if let &[id] = ids {
            return Self::One(id);
        }
        let part = |(&id, filters): (&PacketId, Range<usize>)| Part {
            id,
            filters,
            answer: None,
        };
        Self::Several(ids.iter().zip(packets).map(part).collect())
    }

    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The packet at this place, and which of the `filters` filters it has.
    pub(super) fn packet(&self, at: usize, filters: usize) -> Option<(PacketId, Range<usize>)> {
        match self {
            Self::One(id) if at == 0 => Some((*id, 0..filters)),
            Self::None | Self::One(_) => None,
            Self::Several(parts) => parts.get(at).map(|part| (part.id, part.filters.clone())),
        }
    }

    /// Which of the `filters` filters the packet with this identifier has.
    pub(super) fn filters_of(&self, id: PacketId, filters: usize) -> Range<usize> {
        match self {
            Self::None | Self::One(_) => 0..filters,
            Self::Several(parts) => {
                let part = parts.iter().find(|part| part.id == id);
                part.map_or(0..0, |part| part.filters.clone())
            }
        }
    }

    /// The server has answered one packet. With the last one this is the answer to the request: the Reason Codes of all, in
    /// order, and the properties of the first packet that got some.
    pub(super) fn answer(
        &mut self,
        id: PacketId,
        reasons: Vec<ReasonCode>,
        properties: Properties,
    ) -> Option<(Vec<ReasonCode>, Properties)> {
        let Self::Several(parts) = self else {
            return Some((reasons, properties));
        };
        let others_wait = (parts.iter()).any(|part| part.id != id && part.answer.is_none());
        let part = parts.iter_mut().find(|part| part.id == id)?;
        part.answer = Some((reasons, properties));
        if others_wait {
            return None;
        }
        let mut all = (Vec::new(), Properties::default());
        for part in parts {
            // The identifier of the last one is in use until the request has ended.
            let answer = if part.id == id {
                part.answer.take()
            } else {
                part.answer.clone()
            };
            let Some((reasons, properties)) = answer else {
                continue;
            };
            all.0.extend(reasons);
            if all.1.is_empty() {
                all.1 = properties;
            }
        }
        Some(all)
    }

    /// The identifiers of packets that the server has not answered.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = PacketId> {
        let (one, parts) = match self {
            Self::None => (None, [].as_slice()),
            Self::One(id) => (Some(*id), [].as_slice()),
            Self::Several(parts) => (None, parts.as_slice()),
        };
        let waits = parts.iter().filter(|part| part.answer.is_none());
        one.into_iter().chain(waits.map(|part| part.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(number: u16) -> PacketId {
        match PacketId::new(number) {
            Some(id) => id,
            None => PacketId::MIN,
        }
    }

    #[test]
    fn filters_are_cut_by_their_number_and_by_their_bytes() {
        let cut = |lengths: &[usize], most, room| {
            let packets = cut(lengths.iter().copied(), most, |bytes| bytes <= room);
            packets
                .iter()
                .map(ExactSizeIterator::len)
                .collect::<Vec<_>>()
        };
        assert_eq!(cut(&[3; 5], usize::MAX, 15), [5]);
        assert_eq!(cut(&[3; 5], usize::MAX, 14), [4, 1]);
        assert_eq!(cut(&[3; 5], 2, 14), [2, 2, 1]);
        assert_eq!(cut(&[3, 9, 3, 3], usize::MAX, 6), [1, 1, 2]); // the long one is alone
    }

    #[test]
    fn the_answer_to_the_last_packet_is_that_to_the_request() {
        let ids = [id(3), id(4), id(5)];
        let mut sent = SentPackets::new(&ids, cut([1; 5].into_iter(), 2, |_| true));
        let of = |at| sent.packet(at, 5).map(|(id, filters)| (id.get(), filters));
        assert_eq!(of(0), Some((3, 0..2)));
        assert_eq!(of(2), Some((5, 4..5)));
        assert_eq!(of(3), None);
        let none = Properties::default;
        let code = ReasonCode::from_value;
        let codes = |values: &[u8]| values.iter().filter_map(|&it| code(it)).collect::<Vec<_>>();
        assert_eq!(sent.answer(id(5), codes(&[1]), none()), None);
        assert_eq!(sent.answer(id(3), codes(&[0, 0x80]), none()), None);
        assert_eq!(sent.unanswered().collect::<Vec<_>>(), [id(4)]);
        let (reasons, _) = sent.answer(id(4), codes(&[2, 2]), none()).unwrap();
        assert_eq!(reasons, codes(&[0, 0x80, 2, 2, 1]));
        assert_eq!(sent.unanswered().collect::<Vec<_>>(), [id(4)]); // for whoever ends the request
    }
}
