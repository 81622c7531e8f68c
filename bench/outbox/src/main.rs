//! The rows of `make bench-outbox` that are Rust: each call of this program is one process that does one thing, and prints one
//! line of JSON. `bench/outbox.py` calls it, and bench/README.md says what is measured.

#![expect(
    clippy::print_stdout,
    reason = "a line of JSON on standard output is what it is for"
)]

mod client;
mod figures;
mod opening;
mod raw;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Why a run says nothing.
type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "usage: ferromqtt-bench-outbox raw FOLDER BYTES WRITES
       ferromqtt-bench-outbox store FOLDER SIZE MESSAGES
       ferromqtt-bench-outbox outbox|queue FOLDER SIZE MESSAGES PEER
       ferromqtt-bench-outbox frames FOLDER
       ferromqtt-bench-outbox fill FOLDER SIZE MESSAGES COPY
       ferromqtt-bench-outbox open FOLDER MESSAGES";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("ferromqtt-bench-outbox: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<String, Failure> {
    match *words {
        ["raw", folder, bytes, writes] => {
            raw::run(Path::new(folder), bytes.parse()?, writes.parse()?)
        }
        ["store", folder, size, messages] => {
            store::run(Path::new(folder), size.parse()?, messages.parse()?)
        }
        [kind @ ("outbox" | "queue"), folder, size, messages, peer] => client::run(client::Plan {
            has_outbox: kind == "outbox",
            folder: PathBuf::from(folder),
            size: size.parse()?,
            messages: messages.parse()?,
            peer: PathBuf::from(peer),
        }),
        ["frames", folder] => Ok(format!(
            "{{\"frames\": {}}}",
            figures::frames(Path::new(folder))?
        )),
        ["fill", folder, size, messages, copy] => opening::fill(
            Path::new(folder),
            size.parse()?,
            messages.parse()?,
            Path::new(copy),
        ),
        ["open", folder, messages] => opening::open(Path::new(folder), messages.parse()?),
        _ => Err(USAGE.into()),
    }
}
