//! The codec benchmark: CPU time per PUBLISH of ferromqtt's codec beside rumqttc's and mqtt-protocol-core's, in turns.
//!
//! Run it as `make bench-codec`. bench/README.md says how to read it.

#![allow(clippy::print_stdout, reason = "it reports")]

mod codec;
mod ferromqtt;
mod measure;
mod message;
mod protocol_core;
mod report;
mod round;
mod rumqttc_v4;
mod rumqttc_v5;

use std::env;
use std::process::ExitCode;

use round::Group;

const USAGE: &str = "usage: ferromqtt-bench-codec [--rounds N] [--only TEXT] [--check]
  --rounds N   rounds, each in a process of its own (default 25)
  --only TEXT  only groups whose title contains TEXT, such as \"decode\" or \"5.0 QoS 1\"
  --check      exit with 1 when another codec needs less in any group";

fn main() -> ExitCode {
    let arguments = match Arguments::parse(env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("ferromqtt-bench-codec: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if let Some(number) = arguments.one_round {
        round::run(number, &arguments.only);
        return ExitCode::SUCCESS;
    }
    let mut rounds = Vec::with_capacity(arguments.rounds);
    for number in 0..arguments.rounds {
        match round::spawn(number, &arguments.only) {
            Ok(figures) => rounds.push(figures),
            Err(error) => {
                eprintln!(
                    "ferromqtt-bench-codec: round {} failed: {error}",
                    number + 1
                );
                return ExitCode::FAILURE;
            }
        }
    }
    let all_met = report::print(&Group::all(&arguments.only), &rounds);
    if arguments.check && !all_met {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Arguments {
    rounds: usize,
    only: String,
    check: bool,
    /// Set in a process that runs a single round, for the one that prints the table.
    one_round: Option<usize>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            rounds: 25,
            only: String::new(),
            check: false,
            one_round: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--rounds" => arguments.rounds = number(&value()?)?,
                "--only" => arguments.only = value()?,
                "--check" => arguments.check = true,
                round::OPTION => arguments.one_round = Some(number(&value()?)?),
                other => return Err(format!("unknown option {other}")),
            }
        }
        if arguments.rounds == 0 {
            return Err("--rounds must be positive".to_owned());
        }
        if Group::all(&arguments.only).is_empty() {
            return Err(format!("no title contains {:?}", arguments.only));
        }
        Ok(arguments)
    }
}

fn number(word: &str) -> Result<usize, String> {
    word.parse()
        .map_err(|_| format!("{word:?} is not a number"))
}
