//! `ferromqtt outbox check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ferromqtt_store::{Damage, StoreCheck, StoreFinding};

use super::keys::key_list;
use super::output::{OutboxEnd, Output, count};
use crate::exit_code;

#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// The folder of the outbox
    path: PathBuf,
}

pub(crate) fn run(arguments: &CheckArguments) -> Result<ExitCode, OutboxEnd> {
    super::expect_store(&arguments.path)?;
    let check = StoreCheck::of_folder(&arguments.path)?;
    let code = match check.damages().next() {
        Some(_) => exit_code::DAMAGED,
        None => exit_code::SUCCESS,
    };
    match print(&check) {
        // The code is the answer, whoever reads the rest.
        Ok(()) | Err(OutboxEnd::OutputClosed) => Ok(code),
        Err(failed) => Err(failed),
    }
}

fn print(check: &StoreCheck) -> Result<(), OutboxEnd> {
    let mut output = Output::new();
    for finding in &check.findings {
        output.line(finding_line(finding))?;
    }
    let places = check.damages().count() as u64;
    let result = match places {
        0 => "no damage".to_owned(),
        _ => format!("damage in {}", count(places, "place")),
    };
    let files = count(check.segments as u64, "file");
    let frames = count(check.frames, "frame");
    let messages = count(check.messages as u64, "message");
    let bytes = count(check.bytes, "byte");
    output.line(format_args!(
        "{result}: {messages} can be read; {bytes} in {files} and {frames} were checked"
    ))?;
    output.finish()
}

fn finding_line(finding: &StoreFinding) -> String {
    match finding {
        StoreFinding::Lost { damage, reported } => {
            let reported = match reported {
                true => "reported before",
                false => "not reported yet",
            };
            format!(
                "damage: {} lost: messages in there are gone, and others whose end stood there may be sent again ({reported})",
                frames(*damage)
            )
        }
        StoreFinding::Unreadable { damage, messages } => {
            let lost = match messages.len() as u64 {
                0 => "no message that waits is in there".to_owned(),
                number => format!("{} lost: {}", count(number, "message"), key_list(messages)),
            };
            format!("damage: {} unreadable: {lost}", frames(*damage))
        }
        StoreFinding::Leftover { segment, at, bytes } => {
            let bytes = count(*bytes, "byte");
            format!(
                "no damage: segment {segment:08} has {bytes} from byte {at} on that count for nothing: a write that was cut off, or is under way"
            )
        }
        StoreFinding::Unused { segment } => format!(
            "no damage: segment {segment:08} is part of the log no longer: its owner removes it"
        ),
        _ => "a finding that this version does not know".to_owned(),
    }
}

fn frames(damage: Damage) -> String {
    let Damage {
        segment,
        first,
        last,
    } = damage;
    match first == last {
        true => format!("segment {segment:08}, frame {first} is"),
        false => format!("segment {segment:08}, frames {first} to {last} are"),
    }
}
