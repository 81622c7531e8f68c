//! Packet Identifiers: one space for PUBLISH, SUBSCRIBE and UNSUBSCRIBE (MQTT-2.2.1-3).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::packet::PacketId;

/// The identifiers in use, each with whom it belongs to.
#[derive(Debug)]
pub(crate) struct PacketIds<T> {
    busy: HashMap<PacketId, T, BuildHasherDefault<IdHasher>>,
    last: u16,
}

impl<T> Default for PacketIds<T> {
    fn default() -> Self {
        Self {
            busy: HashMap::default(),
            last: 0,
        }
    }
}

impl<T> PacketIds<T> {
    /// Takes the next identifier that is free, for `owner`. Going round the whole space, rather than taking the lowest
    /// free one, keeps a late acknowledgement from meeting a new exchange. `None` when all 65,535 are in use.
    pub(crate) fn take(&mut self, owner: T) -> Option<PacketId> {
        if self.is_full() {
            return None;
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last)
                && !self.busy.contains_key(&id)
            {
                self.busy.insert(id, owner);
                return Some(id);
            }
        }
    }

    /// Takes this identifier, for a session that is restored.
    pub(crate) fn put(&mut self, id: PacketId, owner: T) {
        self.busy.insert(id, owner);
    }

    /// This one was drawn last.
    pub(crate) const fn continue_after(&mut self, id: PacketId) {
        self.last = id.get();
    }

    /// The one drawn last, or any if none was.
    pub(crate) fn last(&self) -> PacketId {
        PacketId::new(self.last).unwrap_or(PacketId::MIN)
    }

    /// How many are not in use.
    pub(crate) fn free(&self) -> usize {
        usize::from(u16::MAX) - self.busy.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.busy.len() == usize::from(u16::MAX)
    }

    pub(crate) fn owner(&self, id: PacketId) -> Option<&T> {
        self.busy.get(&id)
    }

    /// The identifiers in use with their owners, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PacketId, &T)> {
        self.busy.iter().map(|(id, owner)| (*id, owner))
    }

    pub(crate) fn owner_mut(&mut self, id: PacketId) -> Option<&mut T> {
        self.busy.get_mut(&id)
    }

    pub(crate) fn release(&mut self, id: PacketId) -> Option<T> {
        self.busy.remove(&id)
    }

    pub(crate) fn clear(&mut self) {
        self.busy.clear();
    }
}

/// Spreads an identifier of 16 or 32 bits; keys are our own, so no attacker chooses them. For the crates of this workspace
/// alone: it is no part of the interface.
#[derive(Debug, Default)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u16(u16::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u16(&mut self, id: u16) {
        self.0 = (self.0 << 16 | u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_identifiers_are_skipped_and_zero_is_never_drawn_mqtt_2_2_1_3() {
        let mut ids = PacketIds::default();
        let kept = ids.take(()).unwrap();
        for _ in 1..u16::MAX {
            let id = ids.take(()).unwrap();
            ids.release(id);
        }
        let next = ids.take(()).unwrap();
        assert_eq!(kept.get(), 1);
        assert_eq!(next.get(), 2, "1 is still in use");
    }

    #[test]
    fn all_identifiers_busy_is_an_answer_not_a_hang() {
        let mut ids = PacketIds::default();
        for _ in 0..u16::MAX {
            assert!(ids.take(()).is_some());
        }
        assert_eq!(ids.take(()), None);
        ids.release(PacketId::new(77).unwrap());
        assert_eq!(ids.take(()), PacketId::new(77));
    }
}
