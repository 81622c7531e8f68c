//! Seeds: each draws a script of faults, and a script that fails a test is shrunk to what the failure needs.

mod draw;
mod event_text;
mod list_shrinker;
#[cfg(feature = "seeds")]
mod panics;
mod play;
mod python_code;
#[cfg(feature = "seeds")]
mod report;
mod rule_code;
mod rust_code;
mod script;
mod script_shrinker;
#[cfg(feature = "seeds")]
mod seed_run;
#[cfg(feature = "seeds")]
mod seeds;
mod simpler;

pub use draw::Faults;
pub use list_shrinker::ListShrinker;
pub(crate) use play::ScheduledEvents;
pub use script::{BrokerEvent, BrokerVerb, EventTime, FaultScript, FaultScriptError, ScriptEntry};
pub use script_shrinker::ScriptShrinker;
#[cfg(feature = "seeds")]
pub use seed_run::{Chaos, ChaosError, DrawnFaults};
#[cfg(feature = "seeds")]
pub use seeds::{SeedOutcome, Seeds, seeds};
