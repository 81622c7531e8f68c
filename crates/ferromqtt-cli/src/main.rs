//! The `ferromqtt` command.

mod broker;
mod broker_options;
mod cli;
mod exit_code;
mod faults;
mod limit_arguments;
mod recording;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Broker(arguments) => match arguments.options.options() {
            Ok(options) => faults::read(arguments.faults.as_deref()).and_then(|faults| {
                broker::run((arguments.host, arguments.port).into(), options, faults)
            }),
            Err(message) => wrong_usage(&message),
        },
        Command::Recording(command) => return recording::run(&command),
    };
    match result {
        Ok(()) => exit_code::SUCCESS,
        Err(message) => {
            eprintln!("ferromqtt: {message}");
            exit_code::FAILURE
        }
    }
}

/// Ends as the argument parser does.
fn wrong_usage(message: &str) -> ! {
    Cli::command()
        .error(ErrorKind::ValueValidation, message)
        .exit()
}
