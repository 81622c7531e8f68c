//! Who waits for the outcome of publishes on their way: callers, by their operations, and a store, by its keys.

use super::Outbound;
use crate::event::{Delivery, OpId};
use crate::session::in_flight::{Abandoned, Owner};

impl Outbound {
    /// The keys of all that a store has, in order, with whether any of each was on the wire.
    pub(crate) fn recorded(&self) -> impl Iterator<Item = (u64, Delivery)> {
        let key = |owner: Option<Owner>| match owner? {
            Owner::Recorded(key) => Some(key),
            Owner::Publish(_) | Owner::Request(_) => None,
        };
        let on_the_wire = (self.on_the_wire.iter())
            .filter_map(move |(_, flight)| Some((key(flight.owner())?, Delivery::Unknown)));
        let waiting = (self.waiting.iter())
            .filter_map(move |(_, waiting)| Some((key(waiting.owner)?, waiting.delivery())));
        on_the_wire.chain(waiting)
    }

    /// Whether a store's message waits that never was on the wire.
    pub(crate) fn can_withdraw(&self, op: OpId) -> bool {
        let number = self.above_ops.checked_add(op.0);
        let waiting = number.and_then(|number| self.waiting.get(number));
        waiting.is_some_and(|it| it.is_recorded() && !it.resent_as_new)
    }

    /// Takes out such a message.
    pub(crate) fn withdraw(&mut self, op: OpId) -> bool {
        self.can_withdraw(op) && self.take_one(self.above_ops + op.0).is_some()
    }

    /// Takes a store's messages out of its hands: those that wait leave, and what is on the wire stays without an owner.
    pub(crate) fn release_recorded(&mut self) -> Vec<(u64, Delivery)> {
        let released: Vec<_> = self.recorded().collect();
        let waits: Vec<_> = (self.waiting.iter())
            .filter(|(_, waiting)| waiting.is_recorded())
            .map(|(number, _)| number)
            .collect();
        for number in waits {
            self.take_one(number);
        }
        for (_, flight) in self.on_the_wire.iter_mut() {
            let owner = flight.owner_mut();
            if owner.take_if(|owner| owner.is_recorded()).is_some() {
                self.owners -= 1;
            }
        }
        released
    }

    /// Takes the operations of all that is on the wire: the messages stay, and no caller waits for them any more.
    pub(crate) fn detach_all(&mut self) -> Vec<Owner> {
        let owners = (self.on_the_wire.iter_mut()).map(|(_, flight)| flight.owner_mut());
        let owners = owners.filter_map(|owner| owner.take_if(|owner| !owner.is_recorded()));
        let owners: Vec<_> = owners.collect();
        self.owners -= owners.len();
        owners
    }

    /// Takes the operation of the message whose PUBREL has this number, if a caller waits for it.
    pub(crate) fn detach_release(&mut self, number: u64) -> Option<Owner> {
        let message = self.releasing.get_mut(number)?.number;
        let owner = self.on_the_wire.get_mut(message)?.owner_mut();
        let owner = owner.take_if(|owner| !owner.is_recorded())?;
        self.owners -= 1;
        Some(owner)
    }

    /// How many messages on the wire no caller waits for.
    pub(crate) fn unowned_on_the_wire(&self) -> usize {
        (self.on_the_wire.iter())
            .filter(|(_, flight)| flight.owner().is_none())
            .count()
    }

    /// Whether a caller or a store waits for the outcome of one of them.
    pub(crate) const fn has_owners(&self) -> bool {
        self.owners > 0
    }

    /// Keeps the operations that `waits` approves of; the messages of the others go on without an owner.
    pub(crate) fn retain_owners(&mut self, mut waits: impl FnMut(OpId) -> bool) {
        let waiting = self
            .waiting
            .iter_mut()
            .map(|(_, waiting)| &mut waiting.owner);
        let on_the_wire = (self.on_the_wire.iter_mut()).map(|(_, flight)| flight.owner_mut());
        let mut owners = 0;
        for owner in waiting.chain(on_the_wire) {
            *owner = owner.filter(|owner| owner.op().is_none_or(&mut waits));
            owners += usize::from(owner.is_some());
        }
        self.owners = owners;
    }

    /// The caller no longer waits for `op`: what is not on the wire leaves, what is stays without an owner. Returns
    /// `None` when nobody waited for it.
    pub(crate) fn abandon(&mut self, op: OpId) -> Option<Abandoned> {
        let number = self.above_ops.checked_add(op.0)?;
        if let Some(waiting) = self.waiting.get_mut(number) {
            if waiting.owner.and_then(Owner::op) != Some(op) {
                return None;
            }
            if !waiting.stays() {
                let left = self.take_one(number)?;
                return Some(Abandoned {
                    delivery: left.delivery(),
                    key: left.key,
                });
            }
            waiting.owner = None;
        } else {
            let owner = self.on_the_wire.get_mut(number)?.owner_mut();
            owner.take_if(|owner| owner.op() == Some(op))?;
        }
        self.owners -= 1;
        Some(Abandoned {
            delivery: Delivery::Unknown,
            key: None,
        })
    }
}
