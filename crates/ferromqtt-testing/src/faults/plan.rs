//! The actions of a rule, as what is done to a packet: each question has one answer.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::ReasonCode;

use super::action::{CutPoint, FaultAction};
use super::check::FaultError;

/// What becomes of a packet.
#[derive(Clone, Default)]
pub(crate) struct FaultPlan {
    pub(crate) fate: PacketFate,
    pub(crate) wait: PlannedWait,
    /// A second copy, with DUP or without, so much later.
    pub(crate) duplicate: Option<(bool, Duration)>,
    pub(crate) cut: Option<PlannedCut>,
}

#[derive(Clone, Default)]
pub(crate) enum PacketFate {
    #[default]
    Arrives,
    Lost,
    Replaced(Bytes),
    Garbage(usize),
    Truncated(usize),
    Refused {
        reason: ReasonCode,
        text: Option<String>,
    },
    Disconnected(ReasonCode),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum PlannedWait {
    #[default]
    None,
    Delay(Duration),
    Hold,
    Overtaken(u32),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PlannedCut {
    pub(crate) at: CutPoint,
    pub(crate) reset: bool,
}

impl FaultPlan {
    /// Brings actions together.
    ///
    /// # Errors
    /// When two of them contradict each other.
    pub(crate) fn of(actions: &[FaultAction]) -> Result<Self, FaultError> {
        let mut plan = Self::default();
        let (mut fate, mut wait) = (None, None);
        for action in actions {
            let takes_fate = match action {
                FaultAction::Lose => Some(PacketFate::Lost),
                FaultAction::Replace(bytes) => Some(PacketFate::Replaced(bytes.clone())),
                FaultAction::Garbage(count) => Some(PacketFate::Garbage(*count)),
                FaultAction::Truncate(count) => Some(PacketFate::Truncated(*count)),
                FaultAction::Refuse { reason, text } => Some(PacketFate::Refused {
                    reason: *reason,
                    text: text.clone(),
                }),
                FaultAction::Disconnect(reason) => Some(PacketFate::Disconnected(*reason)),
                _ => None,
            };
            if let Some(new) = takes_fate {
                if let Some(earlier) = fate.replace(action) {
                    return Err(FaultError::contradiction(earlier, action));
                }
                plan.fate = new;
            }
            let takes_time = match action {
                FaultAction::Delay(time) => Some(PlannedWait::Delay(*time)),
                FaultAction::Hold => Some(PlannedWait::Hold),
                FaultAction::Reorder { with_next } => Some(PlannedWait::Overtaken(*with_next)),
                _ => None,
            };
            if let Some(new) = takes_time {
                if let Some(earlier) = wait.replace(action) {
                    return Err(FaultError::contradiction(earlier, action));
                }
                plan.wait = new;
            }
            let twice = match action {
                FaultAction::Duplicate { dup, after } => {
                    plan.duplicate.replace((*dup, *after)).is_some()
                }
                FaultAction::Cut { at, reset } => {
                    let (at, reset) = (*at, *reset);
                    plan.cut.replace(PlannedCut { at, reset }).is_some()
                }
                _ => false,
            };
            if twice {
                return Err(FaultError::contradiction(action, action));
            }
        }
        plan.check(actions, fate)?;
        Ok(plan)
    }

    /// What fits one by one and makes no sense together.
    fn check(&self, actions: &[FaultAction], fate: Option<&FaultAction>) -> Result<(), FaultError> {
        let Some(fate) = fate else { return Ok(()) };
        let other = |wanted: fn(&FaultAction) -> bool| actions.iter().find(|action| wanted(action));
        let waits = other(|it| {
            use FaultAction::{Delay, Hold, Reorder};
            matches!(it, Delay(_) | Hold | Reorder { .. })
        });
        let repeats = other(|it| matches!(it, FaultAction::Duplicate { .. }));
        let cuts_inside = other(|it| {
            let FaultAction::Cut { at, .. } = it else {
                return false;
            };
            *at != CutPoint::After
        });
        let cuts = other(|it| matches!(it, FaultAction::Cut { .. }));
        let against = match self.fate {
            PacketFate::Arrives => None,
            PacketFate::Lost | PacketFate::Refused { .. } => waits.or(repeats).or(cuts_inside),
            PacketFate::Disconnected(_) => waits.or(repeats).or(cuts),
            PacketFate::Replaced(_) | PacketFate::Garbage(_) | PacketFate::Truncated(_) => {
                cuts_inside
            }
        };
        against.map_or(Ok(()), |against| {
            Err(FaultError::contradiction(fate, against))
        })
    }
}

impl FaultPlan {
    /// Whether anything of the packet goes on to its receiver.
    pub(crate) fn passes(&self) -> bool {
        use PacketFate::{Arrives, Garbage, Replaced, Truncated};
        let before = self.cut.is_some_and(|cut| cut.at == CutPoint::Before);
        !before && matches!(self.fate, Arrives | Replaced(_) | Garbage(_) | Truncated(_))
    }

    /// Whether all of it does, as it is.
    pub(crate) fn is_whole(&self) -> bool {
        let after = self.cut.is_none_or(|cut| cut.at == CutPoint::After);
        after && matches!(self.fate, PacketFate::Arrives)
    }
}
