//! The `ferromqtt` command.

mod broker;
mod cli;
mod exit_code;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Broker(options) => broker::run(&options),
    };
    match result {
        Ok(()) => exit_code::SUCCESS,
        Err(message) => {
            eprintln!("ferromqtt: {message}");
            exit_code::FAILURE
        }
    }
}
