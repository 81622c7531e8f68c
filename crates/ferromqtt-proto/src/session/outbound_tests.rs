//! Outgoing messages against a plain list, which is looked through each time.

use proptest::prelude::*;
use proptest::sample::Index;

use super::in_flight::{Owner, WaitingPublish};
use super::outbound::Outbound;
use super::{IdOwner, PacketIds, Publish};
use crate::event::{Delivery, OpId};
use crate::packet::{MESSAGE_OVERHEAD, PacketId, QoS};
use crate::topic::TopicName;

const CONNECTION: u64 = 1;

#[derive(Clone, Debug)]
enum OutboundStep {
    Publish,
    Start,
    /// PUBACK.
    Finish(Index),
    /// PUBREC.
    Release(Index),
    /// PUBCOMP.
    Complete(Index),
    Abandon(Index),
    /// The connection ends; it has not handed over so many of the last messages.
    TakeBack(u64),
    Resend,
    LoseSession,
    DropOldest(usize),
    DetachAll,
    /// Callers of odd operations do not wait any more.
    Retain,
}

fn step() -> impl Strategy<Value = OutboundStep> {
    let any = || any::<Index>();
    prop_oneof![
        8 => Just(OutboundStep::Publish),
        6 => Just(OutboundStep::Start),
        3 => any().prop_map(OutboundStep::Finish),
        3 => any().prop_map(OutboundStep::Release),
        2 => any().prop_map(OutboundStep::Complete),
        5 => any().prop_map(OutboundStep::Abandon),
        1 => (0_u64..5).prop_map(OutboundStep::TakeBack),
        1 => Just(OutboundStep::Resend),
        1 => Just(OutboundStep::LoseSession),
        1 => (0_usize..4).prop_map(OutboundStep::DropOldest),
        1 => Just(OutboundStep::DetachAll),
        1 => Just(OutboundStep::Retain),
    ]
}

/// Where a message of the model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnownState {
    Waiting,
    Published { ends_at: u64 },
    Released { number: u64 },
}

#[derive(Clone, Copy, Debug)]
struct KnownPublish {
    op: u64,
    owned: bool,
    anew: bool,
    place: KnownState,
}

impl KnownPublish {
    fn owner(&self) -> Option<Owner> {
        self.owned.then_some(Owner::Publish(OpId(self.op)))
    }

    fn is_waiting(&self) -> bool {
        self.place == KnownState::Waiting
    }

    fn is_published(&self) -> bool {
        matches!(self.place, KnownState::Published { .. })
    }
}

#[derive(Default)]
struct World {
    outbound: Outbound,
    ids: PacketIds<IdOwner>,
    /// In the order of the operations: those on the wire are before those that wait.
    known: Vec<KnownPublish>,
    last_op: u64,
    /// Bytes that the connection has encoded, one for each message.
    end: u64,
}

impl World {
    fn play(&mut self, step: OutboundStep) {
        match step {
            OutboundStep::Publish => self.publish(),
            OutboundStep::Start => self.start(),
            OutboundStep::Finish(at) => {
                if let Some(it) = self.pick(at, KnownPublish::is_published) {
                    let id = self.outbound.next_id(it.op);
                    self.ids.release(id);
                    let finished = self.outbound.finish_publish(it.op).unwrap();
                    assert_eq!(
                        (finished.owner, finished.resent_as_new),
                        (it.owner(), it.anew)
                    );
                    self.known.retain(|other| other.op != it.op);
                }
            }
            OutboundStep::Release(at) => {
                if let Some(it) = self.pick(at, KnownPublish::is_published) {
                    let number = self.outbound.release(it.op, false).unwrap().number;
                    self.change(it.op, |it| it.place = KnownState::Released { number });
                    assert!(
                        self.outbound.qos_of(it.op).is_none(),
                        "it has had its PUBREC"
                    );
                    assert!(self.outbound.finish_publish(it.op).is_none());
                }
            }
            OutboundStep::Complete(at) => {
                let is_released =
                    |it: &KnownPublish| matches!(it.place, KnownState::Released { .. });
                if let Some(it) = self.pick(at, is_released)
                    && let KnownState::Released { number } = it.place
                {
                    let finished = self.outbound.finish_release(number).unwrap();
                    assert_eq!(finished.owner, it.owner());
                    self.known.retain(|other| other.op != it.op);
                }
            }
            OutboundStep::Abandon(at) => self.abandon(at.index(self.last_op as usize + 2) as u64),
            OutboundStep::TakeBack(unwritten) => self.take_back(unwritten),
            OutboundStep::Resend => self.resend(),
            OutboundStep::LoseSession => self.lose_session(),
            OutboundStep::DropOldest(messages) => self.drop_oldest(messages),
            OutboundStep::DetachAll => {
                let on_the_wire = |it: &&mut KnownPublish| !it.is_waiting() && it.owned;
                let detached = self.known.iter_mut().filter(on_the_wire);
                let owners = detached.map(|it| {
                    it.owned = false;
                    Owner::Publish(OpId(it.op))
                });
                let owners: Vec<_> = owners.collect();
                assert_eq!(self.outbound.detach_all(), owners);
            }
            OutboundStep::Retain => {
                self.outbound.retain_owners(|op| op.0.is_multiple_of(2));
                let odd = self.known.iter_mut().filter(|it| !it.op.is_multiple_of(2));
                odd.for_each(|it| it.owned = false);
            }
        }
    }

    fn pick(&self, at: Index, which: impl Fn(&KnownPublish) -> bool) -> Option<KnownPublish> {
        let all: Vec<_> = self.known.iter().filter(|it| which(it)).collect();
        (!all.is_empty()).then(|| **at.get(&all))
    }

    fn change(&mut self, op: u64, change: impl FnOnce(&mut KnownPublish)) {
        if let Some(it) = self.known.iter_mut().find(|it| it.op == op) {
            change(it);
        }
    }

    fn publish(&mut self) {
        self.last_op += 1;
        let op = self.last_op;
        let mut publish = Publish::new(TopicName::new("t").unwrap(), vec![0; op as usize % 3]);
        publish.qos = QoS::ExactlyOnce;
        let waiting = WaitingPublish {
            owner: Some(Owner::Publish(OpId(op))),
            publish,
            resent_as_new: false,
            expiry: None,
            key: None,
        };
        self.outbound.push(OpId(op), waiting);
        self.known.push(KnownPublish {
            op,
            owned: true,
            anew: false,
            place: KnownState::Waiting,
        });
    }

    fn start(&mut self) {
        let next = self.known.iter_mut().find(|it| it.is_waiting());
        let started = self.outbound.start(&mut self.ids, CONNECTION, None);
        let Some(next) = next else {
            return assert!(started.is_none());
        };
        let (_, started) = started.unwrap();
        assert_eq!(started.owner, next.owner());
        started.begins_at = self.end;
        self.end += 1;
        started.ends_at = self.end;
        next.place = KnownState::Published { ends_at: self.end };
    }

    fn abandon(&mut self, op: u64) {
        let abandoned = self.outbound.abandon(OpId(op)).map(|it| it.delivery);
        let it = self
            .known
            .iter()
            .copied()
            .find(|it| it.op == op && it.owned);
        let expected = it.map(|it| match it.is_waiting() && !it.anew {
            true => Delivery::NotSent,
            false => Delivery::Unknown,
        });
        assert_eq!(abandoned, expected, "of operation {op}");
        match it.is_some_and(|it| it.is_waiting()) {
            true => self.known.retain(|it| it.op != op),
            false => self.change(op, |it| it.owned = false),
        }
    }

    fn take_back(&mut self, unwritten: u64) {
        let handed_over = self.end.saturating_sub(unwritten);
        self.outbound
            .take_back(&mut self.ids, CONNECTION, handed_over);
        for it in self.known.iter_mut().rev() {
            match it.place {
                KnownState::Published { ends_at } if ends_at > handed_over => {
                    it.place = KnownState::Waiting
                }
                KnownState::Published { .. } | KnownState::Released { .. } => break,
                KnownState::Waiting => {}
            }
        }
    }

    /// What is to be sent again comes in order: PUBRELs by their PUBRECs, and then PUBLISHes.
    fn resend(&mut self) {
        self.outbound.start_resending();
        let mut released: Vec<_> = (self.known.iter())
            .filter_map(|it| match it.place {
                KnownState::Released { number } => Some(number),
                _ => None,
            })
            .collect();
        released.sort_unstable();
        let resent = std::iter::from_fn(|| self.outbound.next_release()).count();
        assert_eq!(resent, released.len());
        for it in self.known.iter().filter(|it| it.is_published()) {
            let (number, flow) = self.outbound.next_resend().unwrap();
            assert_eq!((number, flow.owner), (it.op, it.owner()));
            self.outbound.resent(number);
        }
        assert!(self.outbound.next_resend().is_none());
        assert!(!self.outbound.is_resending());
    }

    fn lose_session(&mut self) {
        let (published, released) = self.outbound.take_on_the_wire();
        self.ids.clear();
        let known = self.known.iter().filter(|it| it.is_published());
        let owners: Vec<_> = known.map(|it| it.owner()).collect();
        assert!(published.iter().map(|(_, flow)| flow.owner).eq(owners));
        let known = self.known.iter().filter(|it| !it.is_waiting());
        assert_eq!(published.len() + released.len(), known.count());
        let anew = published.into_iter().map(|(number, flow)| {
            let waiting = WaitingPublish {
                owner: flow.owner,
                publish: flow.publish,
                resent_as_new: true,
                expiry: None,
                key: None,
            };
            (number, waiting)
        });
        let anew = anew
            .filter(|(_, waiting)| waiting.owner.is_some())
            .collect();
        self.outbound.put_first(anew);
        self.known
            .retain(|it| it.is_waiting() || it.is_published() && it.owned);
        for it in self.known.iter_mut().filter(|it| it.is_published()) {
            it.anew = true;
            it.place = KnownState::Waiting;
        }
    }

    fn drop_oldest(&mut self, messages: usize) {
        let limit = self.known.len().saturating_sub(messages);
        let dropped = self.outbound.drop_oldest(|messages, _| messages <= limit);
        let oldest = self.known.iter().filter(|it| it.is_waiting() && !it.anew);
        let oldest: Vec<_> = oldest
            .take(messages.min(self.known.len()))
            .copied()
            .collect();
        if oldest.len() < messages.min(self.known.len()) {
            return assert!(dropped.is_none());
        }
        let dropped = dropped.unwrap();
        assert!(
            dropped
                .iter()
                .map(|it| it.owner)
                .eq(oldest.iter().map(KnownPublish::owner))
        );
        self.known
            .retain(|it| oldest.iter().all(|other| other.op != it.op));
    }

    fn check(&mut self) {
        assert_eq!(self.outbound.len(), self.known.len());
        let bytes = self
            .known
            .iter()
            .map(|it| match it.place {
                KnownState::Released { .. } => MESSAGE_OVERHEAD,
                _ => MESSAGE_OVERHEAD + "t".len() + it.op as usize % 3,
            })
            .sum::<usize>();
        assert_eq!(self.outbound.bytes(), bytes);
        assert_eq!(
            self.outbound.has_owners(),
            self.known.iter().any(|it| it.owned)
        );
        let published = self.known.iter().filter(|it| it.is_published()).count();
        assert_eq!(self.outbound.unacknowledged(), published);
        let anew = self
            .known
            .iter()
            .filter(|it| it.is_waiting() && it.anew)
            .count();
        assert_eq!(self.outbound.waiting_anew(), anew);
        let first = self
            .known
            .iter()
            .find(|it| it.is_waiting())
            .map(KnownPublish::owner);
        assert_eq!(self.outbound.first_waiting().map(|it| it.owner), first);
    }
}

impl Outbound {
    /// The identifier of a PUBLISH in flight.
    fn next_id(&mut self, number: u64) -> PacketId {
        self.start_resending();
        let mut id = None;
        while let Some((other, flow)) = self.next_resend() {
            if other == number {
                id = Some(flow.id);
            }
            self.resent(other);
        }
        id.unwrap()
    }
}

proptest! {
    #[test]
    fn messages_are_found_in_any_order_and_the_rest_stays_as_it_was(
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut world = World::default();
        for step in steps {
            world.play(step);
            world.check();
        }
        let waiting = world.known.iter().filter(|it| it.is_waiting()).map(KnownPublish::owner);
        let left = world.outbound.take_waiting();
        prop_assert!(left.iter().map(|(_, it)| it.owner).eq(waiting));
    }
}
