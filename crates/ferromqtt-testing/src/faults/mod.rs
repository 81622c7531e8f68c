//! Faults on demand: a rule says where, when and what.

mod action;
mod check;
mod conditions;
#[cfg(feature = "faults-file")]
mod file;
mod installed;
mod plan;
mod rule;
mod text;
mod tokens;
mod words;

pub use action::{CutPoint, FaultAction};
pub use check::FaultError;
pub(crate) use conditions::ConditionValue;
#[cfg(feature = "faults-file")]
pub use file::{FaultFileError, FaultFileProblem};
pub use installed::FaultId;
pub(crate) use installed::{InstalledFaults, Judged, PacketInView};
pub(crate) use plan::{FaultPlan, PacketFate, PlannedCut, PlannedWait};
pub use rule::{FaultPlace, FaultRule, FaultTimes, FaultTiming};
pub(crate) use text::duration_text;
pub use text::{FaultTextError, parse_duration};
