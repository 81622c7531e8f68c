//! Packet Identifiers for the messages to one session.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use ferromqtt_proto::IdHasher;
use ferromqtt_proto::packet::PacketId;

/// Something for each of the broker's own identifiers: nobody else chooses those.
pub(crate) type ByPacketId<T> = HashMap<PacketId, T, BuildHasherDefault<IdHasher>>;

/// Hands out the identifiers that are free, at the same cost whichever those are: first those after the last one, round
/// the whole space, and then those that were given back, the oldest first. Either keeps a late acknowledgement from meeting
/// a new exchange.
#[derive(Debug)]
pub(crate) struct FreePacketIds {
    last: u16,
    /// So many identifiers after `last` are free.
    fresh: u16,
    /// Free as well, since the last time that all were.
    given_back: VecDeque<PacketId>,
}

impl Default for FreePacketIds {
    fn default() -> Self {
        Self {
            last: 0,
            fresh: u16::MAX,
            given_back: VecDeque::new(),
        }
    }
}

impl FreePacketIds {
    /// Takes one, unless all 65,535 are in use.
    pub(crate) fn take(&mut self) -> Option<PacketId> {
        if self.fresh == 0 {
            return self.given_back.pop_front();
        }
        self.fresh -= 1;
        self.last = self.last.checked_add(1).unwrap_or(1);
        PacketId::new(self.last)
    }

    /// `id` is free again; `all` says that every other one is, too.
    pub(crate) fn give_back(&mut self, id: PacketId, all: bool) {
        if all {
            self.fresh = u16::MAX;
            self.given_back.clear();
        } else {
            self.given_back.push_back(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_identifier_is_in_use_once_and_those_given_back_come_again() {
        let mut ids = FreePacketIds::default();
        let mut used: BTreeSet<_> = (0..u16::MAX).map(|_| ids.take().unwrap()).collect();
        assert_eq!(used.len(), 65_535);
        assert_eq!(ids.take(), None);

        let free: Vec<_> = [7, 60_000, 3].map(|id| PacketId::new(id).unwrap()).into();
        for &id in &free {
            used.remove(&id);
            ids.give_back(id, false);
        }
        for &id in &free {
            assert_eq!(ids.take(), Some(id));
        }
        assert_eq!(ids.take(), None);
    }

    #[test]
    fn identifiers_go_round_the_whole_space_while_none_is_in_use() {
        let mut ids = FreePacketIds::default();
        for round in 0..3 {
            for expected in 1..=u16::MAX {
                let id = ids.take().unwrap();
                assert_eq!(id.get(), expected, "round {round}");
                ids.give_back(id, true);
            }
        }
        assert!(ids.given_back.is_empty());
    }
}
