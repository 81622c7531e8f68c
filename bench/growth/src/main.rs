//! The growth benchmark: how cost and memory grow with what is held, in ratios that a bar limits.
//!
//! Run it as `make bench-growth`. bench/README.md says how to read it.

#![allow(clippy::print_stdout, reason = "it reports")]

mod abandon;
mod broker;
mod broker_subscriptions;
mod deliveries;
mod echoes;
mod held;
mod link;
mod matching;
mod measure;
mod order;
mod packets;
mod report;
mod streams;
mod subscriptions;
mod waiters;

use std::env;
use std::process::ExitCode;

use peak_alloc::PeakAlloc;
use report::Report;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const USAGE: &str = "usage: ferromqtt-bench-growth [--only TEXT]
  --only TEXT  only groups whose name contains TEXT, such as \"abandon\"
It exits with 1 when a bar is missed.";

type Group = (&'static str, fn(&mut Report));

/// The groups of rows, one for each file.
const GROUPS: &[Group] = &[
    ("abandon", abandon::measure),
    ("packets", packets::measure),
    ("held", held::measure),
    ("subscriptions", subscriptions::measure),
    ("broker_subscriptions", broker_subscriptions::measure),
    ("streams", streams::measure),
    ("matching", matching::measure),
    ("drop oldest", abandon::measure_dropping),
    ("deliveries", deliveries::measure),
    ("echoes", echoes::measure),
    ("waiters", waiters::measure),
    ("broker", broker::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let only = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => "",
        ["--only", text] => text,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if !GROUPS.iter().any(|(name, _)| name.contains(only)) {
        let names: Vec<_> = GROUPS.iter().map(|(name, _)| *name).collect();
        eprintln!(
            "no group's name contains {only:?}; there are: {}",
            names.join(", ")
        );
        return ExitCode::from(2);
    }
    let mut report = Report::default();
    for (_, measure) in GROUPS.iter().filter(|(name, _)| name.contains(only)) {
        measure(&mut report);
    }
    match report.all_met() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
