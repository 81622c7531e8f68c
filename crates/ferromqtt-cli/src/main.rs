//! The `ferromqtt` command.

mod broker;
mod broker_options;
mod cli;
mod exit_code;
mod faults;
mod limit_arguments;
mod outbox;
mod recording;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use ferromqtt_testing::recording::RecordedPayloads;

use crate::broker::BrokerRun;
use crate::cli::{BrokerArguments, Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Broker(arguments) => run_broker(*arguments),
        Command::Recording(command) => return recording::run(&command),
        Command::Outbox(command) => return outbox::run(&command),
    };
    match result {
        Ok(()) => exit_code::SUCCESS,
        Err(message) => {
            eprintln!("ferromqtt: {message}");
            exit_code::FAILURE
        }
    }
}

fn run_broker(arguments: BrokerArguments) -> Result<(), String> {
    let options = match arguments.options.options() {
        Ok(options) => options,
        Err(message) => wrong_usage(&message),
    };
    broker::run(BrokerRun {
        address: (arguments.host, arguments.port).into(),
        options,
        faults: faults::read(arguments.faults.as_deref())?,
        record: arguments.record,
        payloads: match arguments.record_payloads {
            true => RecordedPayloads::Whole,
            false => RecordedPayloads::Hashed,
        },
    })
}

/// Ends as the argument parser does.
fn wrong_usage(message: &str) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, message)
        .exit()
}
