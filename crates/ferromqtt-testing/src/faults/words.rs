//! The words of a rule, for whatever has one: the rule itself, and a rule that a broker has already.

use std::time::Duration;

use ferromqtt_proto::packet::{QoS, ReasonCode};

use super::action::{CutPoint, FaultAction};
use super::rule::{FaultRule, FaultTimes};

/// Implements the words by `$set`, a method that takes a function on the rule, and `$act`, one that takes an action.
macro_rules! fault_words {
    ($($type:tt)+) => {
        impl $($type)+ {
            /// Only packets of the client with this Client Identifier.
            #[must_use = "a rule does nothing before it has an action"]
            #[track_caller]
            pub fn client(self, client_identifier: impl Into<String>) -> Self {
                let client = client_identifier.into();
                self.set(|rule| rule.place.client = Some(client))
            }

            /// Only PUBLISH to a topic that this filter matches, also where a Topic Alias stands for it; SUBSCRIBE and
            /// UNSUBSCRIBE with such a filter; CONNECT with such a will.
            #[must_use = "a rule does nothing before it has an action"]
            #[track_caller]
            pub fn topic(self, filter: impl Into<String>) -> Self {
                let filter = filter.into();
                self.set(|rule| rule.place.topic = Some(filter))
            }

            /// Only PUBLISH of this QoS, and SUBSCRIBE whose highest is this.
            #[must_use = "a rule does nothing before it has an action"]
            #[track_caller]
            pub fn qos(self, qos: QoS) -> Self {
                self.set(|rule| rule.place.qos = Some(qos))
            }

            /// Only packets with this Packet Identifier.
            #[must_use = "a rule does nothing before it has an action"]
            #[track_caller]
            pub fn packet_id(self, packet_id: u16) -> Self {
                self.set(|rule| rule.place.packet_id = Some(packet_id))
            }

            /// Begins with packet number `nth` of those that match. Default: 1.
            #[must_use = "a rule does nothing before it has an action"]
            #[track_caller]
            pub fn nth(self, nth: u32) -> Self {
                self.set(|rule| rule.timing.nth = nth)
            }

            /// Fires so many times. Default: 1.
            #[track_caller]
            pub fn times(self, times: u32) -> Self {
                self.set(|rule| rule.timing.set_times(FaultTimes::Exactly(times)))
            }

            /// Fires at every packet.
            #[track_caller]
            pub fn always(self) -> Self {
                self.set(|rule| rule.timing.set_times(FaultTimes::Always))
            }

            /// Ignores packets that come earlier than this after the rule was made.
            #[track_caller]
            pub fn after(self, time: Duration) -> Self {
                self.set(|rule| rule.timing.after = time)
            }

            /// Fires with this probability, from 0 to 1, at each packet that is its turn: at every one, unless
            /// [`times`](Self::times) bounds it. Drawn from the broker's seed.
            #[track_caller]
            pub fn with_probability(self, probability: f64) -> Self {
                self.set(|rule| rule.timing.probability = probability)
            }

            /// May end unused.
            #[track_caller]
            pub fn optional(self) -> Self {
                self.set(|rule| rule.timing.optional = true)
            }

            /// [`FaultAction::Lose`].
            #[track_caller]
            pub fn lose(self) -> Self {
                self.act(FaultAction::Lose)
            }

            /// [`FaultAction::Duplicate`] at once, with DUP.
            #[track_caller]
            pub fn duplicate(self) -> Self {
                self.act(FaultAction::Duplicate { dup: true, after: Duration::ZERO })
            }

            /// [`FaultAction::Duplicate`], so much later, with DUP or without.
            #[track_caller]
            pub fn duplicate_after(self, after: Duration, dup: bool) -> Self {
                self.act(FaultAction::Duplicate { dup, after })
            }

            /// [`FaultAction::Delay`].
            #[track_caller]
            pub fn delay(self, time: Duration) -> Self {
                self.act(FaultAction::Delay(time))
            }

            /// [`FaultAction::Hold`].
            #[track_caller]
            pub fn hold(self) -> Self {
                self.act(FaultAction::Hold)
            }

            /// [`FaultAction::Reorder`].
            #[track_caller]
            pub fn reorder(self, with_next: u32) -> Self {
                self.act(FaultAction::Reorder { with_next })
            }

            /// [`FaultAction::Cut`] behind the packet.
            #[track_caller]
            pub fn cut(self) -> Self {
                self.act(FaultAction::Cut { at: CutPoint::After, reset: false })
            }

            /// [`FaultAction::Cut`] in front of the packet.
            #[track_caller]
            pub fn cut_before(self) -> Self {
                self.act(FaultAction::Cut { at: CutPoint::Before, reset: false })
            }

            /// [`FaultAction::Cut`] inside of the packet, behind so many of its bytes.
            #[track_caller]
            pub fn cut_after_bytes(self, bytes: usize) -> Self {
                self.act(FaultAction::Cut { at: CutPoint::AfterBytes(bytes), reset: false })
            }

            /// The cut of this rule is a reset, as when the peer's process was killed.
            #[track_caller]
            pub fn reset(self) -> Self {
                self.set(|rule| {
                    for action in &mut rule.actions {
                        if let FaultAction::Cut { reset, .. } = action {
                            *reset = true;
                        }
                    }
                })
            }

            /// [`FaultAction::Refuse`] without a text.
            #[track_caller]
            pub fn refuse(self, reason: ReasonCode) -> Self {
                self.act(FaultAction::Refuse { reason, text: None })
            }

            /// [`FaultAction::Refuse`] with a Reason String for clients of 5.0.
            #[track_caller]
            pub fn refuse_with(self, reason: ReasonCode, text: impl Into<String>) -> Self {
                self.act(FaultAction::Refuse { reason, text: Some(text.into()) })
            }

            /// [`FaultAction::Replace`].
            #[track_caller]
            pub fn replace(self, bytes: impl Into<bytes::Bytes>) -> Self {
                self.act(FaultAction::Replace(bytes.into()))
            }

            /// [`FaultAction::Garbage`].
            #[track_caller]
            pub fn garbage(self, bytes: usize) -> Self {
                self.act(FaultAction::Garbage(bytes))
            }

            /// [`FaultAction::Truncate`].
            #[track_caller]
            pub fn truncate(self, bytes: usize) -> Self {
                self.act(FaultAction::Truncate(bytes))
            }

            /// [`FaultAction::Disconnect`].
            #[track_caller]
            pub fn disconnect(self, reason: ReasonCode) -> Self {
                self.act(FaultAction::Disconnect(reason))
            }
        }
    };
}

fault_words!(FaultRule);
#[cfg(feature = "tokio")]
fault_words!(crate::fault_handle::FaultHandle<'_>);

impl FaultRule {
    fn set(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        self
    }

    fn act(mut self, action: FaultAction) -> Self {
        self.actions.push(action);
        self
    }
}
