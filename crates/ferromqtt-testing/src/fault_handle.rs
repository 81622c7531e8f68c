//! A rule that a running broker has, and the link of one of its clients.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::faults::{FaultAction, FaultId, FaultRule};
use crate::host::SharedHost;
use crate::journal::BrokerSide;

/// A rule of a [`TestBroker`](crate::TestBroker), from [`TestBroker::sends`](crate::TestBroker::sends) or
/// [`receives`](crate::TestBroker::receives). Its words are those of [`FaultRule`].
///
/// The broker has the rule from its first action on, and each further word changes it there. Dropping the handle changes
/// nothing.
///
/// # Panics
/// Each word that changes the rule panics when the rule makes no sense then; the text says why. To get it as an error, make a
/// [`FaultRule`] and give it to [`TestBroker::add_fault`](crate::TestBroker::add_fault).
pub struct FaultHandle<'a> {
    shared: &'a Arc<SharedHost>,
    rule: FaultRule,
    id: Option<FaultId>,
}

impl fmt::Debug for FaultHandle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f.debug_struct("FaultHandle"))
            .field("rule", &self.rule)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<'a> FaultHandle<'a> {
    pub(crate) const fn new(shared: &'a Arc<SharedHost>, rule: FaultRule) -> Self {
        Self {
            shared,
            rule,
            id: None,
        }
    }

    #[track_caller]
    pub(crate) fn set(mut self, set: impl FnOnce(&mut FaultRule)) -> Self {
        set(&mut self.rule);
        self.install();
        self
    }

    #[track_caller]
    pub(crate) fn act(mut self, action: FaultAction) -> Self {
        self.rule.actions.push(action);
        self.install();
        self
    }

    #[track_caller]
    fn install(&mut self) {
        if self.rule.actions.is_empty() {
            return;
        }
        let rule = self.rule.clone();
        let id = self.id;
        let installed = self.shared.call(|broker, now| match id {
            Some(id) => broker.change_fault(id, rule).map(|_| id),
            None => broker.add_fault(now, rule),
        });
        match installed {
            Ok(id) => self.id = Some(id),
            Err(error) => panic!("{error}"),
        }
    }

    /// The rule as it is now.
    pub const fn rule(&self) -> &FaultRule {
        &self.rule
    }

    /// Lets the packets go that the rule holds ([`FaultHandle::hold`]); returns how many those were.
    pub fn release(&self) -> usize {
        self.call(0, |broker, now, id| broker.release_fault(now, id))
    }

    /// How often the rule has fired.
    pub fn fired(&self) -> u64 {
        self.call(0, |broker, _, id| broker.fault_fired(id).unwrap_or(0))
    }

    /// Takes the rule away, and lets go what it holds.
    pub fn remove(self) {
        self.call(false, |broker, now, id| broker.remove_fault(now, id));
    }

    fn call<T>(&self, otherwise: T, call: impl FnOnce(&mut Broker, Instant, FaultId) -> T) -> T {
        let Some(id) = self.id else {
            return otherwise;
        };
        self.shared.call(|broker, now| call(broker, now, id))
    }
}

/// The link of a client of a [`TestBroker`](crate::TestBroker): what the network does to it from now on.
///
/// # Panics
/// Each verb panics when no client with this Client Identifier has a link at that moment, and when the broker replays a
/// recording.
#[derive(Debug)]
pub struct LinkHandle<'a> {
    shared: &'a Arc<SharedHost>,
    client: String,
}

impl<'a> LinkHandle<'a> {
    pub(crate) const fn new(shared: &'a Arc<SharedHost>, client: String) -> Self {
        Self { shared, client }
    }

    #[track_caller]
    fn change(&self, change: impl FnOnce(&mut Broker, Instant, &str) -> bool) {
        let others = (self.shared).act(|broker, now| match change(broker, now, &self.client) {
            true => None,
            false => Some(broker.linked_clients()),
        });
        if let Some(others) = others {
            let client = &self.client;
            panic!(
                "no client {client:?} is connected to the test broker; those that are: {others:?}"
            );
        }
    }

    /// [`Broker::cut_link`], in order.
    #[track_caller]
    pub fn cut(&self) {
        self.change(|broker, now, client| broker.cut_link(now, client, false));
    }

    /// [`Broker::cut_link`], with a reset.
    #[track_caller]
    pub fn reset(&self) {
        self.change(|broker, now, client| broker.cut_link(now, client, true));
    }

    /// [`Broker::half_open_link`].
    #[track_caller]
    pub fn half_open(&self) {
        self.change(|broker, now, client| broker.half_open_link(now, client));
    }

    /// [`Broker::stall_link`]: stops what the broker sends, or what it receives.
    #[track_caller]
    pub fn stall(&self, side: BrokerSide) {
        self.change(|broker, now, client| broker.stall_link(now, client, side, true));
    }

    /// Lets a direction go on that was stalled.
    #[track_caller]
    pub fn resume(&self, side: BrokerSide) {
        self.change(|broker, now, client| broker.stall_link(now, client, side, false));
    }

    /// [`Broker::limit_link`]; `None` lifts the limit.
    #[track_caller]
    pub fn rate(&self, bytes_per_second: impl Into<Option<NonZeroU32>>) {
        let rate = bytes_per_second.into();
        self.change(|broker, now, client| broker.limit_link(now, client, rate));
    }

    /// [`Broker::slow_link`].
    #[track_caller]
    pub fn latency(&self, latency: Duration, jitter: Duration) {
        self.change(|broker, now, client| broker.slow_link(now, client, latency, jitter));
    }

    /// [`Broker::cut_link_after`].
    #[track_caller]
    pub fn cut_after(&self, side: BrokerSide, bytes: usize) {
        self.change(|broker, now, client| broker.cut_link_after(now, client, side, bytes));
    }
}
