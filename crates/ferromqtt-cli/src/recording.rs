//! `ferromqtt recording`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use ferromqtt_testing::recording::{ComparedTimes, Recording, diff};

use crate::exit_code;

#[derive(Debug, Subcommand)]
pub(crate) enum RecordingCommand {
    /// Print a recording for people, a line for each packet
    ///
    /// An arrow to the right stands for a packet of the client, one to the left for a packet of the server.
    Show {
        /// The recording
        file: PathBuf,
    },
    /// Print what is different in two recordings
    ///
    /// Packets belong together by link, direction, type and topic, and are compared field by field. Ends with 0 when nothing is
    /// different, with 1 when something is, and with 2 when a file is no recording.
    Diff(DiffArguments),
}

#[derive(Args, Debug)]
pub(crate) struct DiffArguments {
    /// The first recording
    first: PathBuf,

    /// The second recording
    second: PathBuf,

    /// Compare times too, in milliseconds since each link was opened
    #[arg(long)]
    times: bool,
}

pub(crate) fn run(command: &RecordingCommand) -> ExitCode {
    match answer(command) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("ferromqtt: {message}");
            exit_code::no_answer()
        }
    }
}

fn answer(command: &RecordingCommand) -> Result<ExitCode, String> {
    let read = |path: &PathBuf| Recording::read(path).map_err(|error| error.to_string());
    let (text, code) = match command {
        RecordingCommand::Show { file } => (read(file)?.show(), exit_code::SUCCESS),
        RecordingCommand::Diff(arguments) => {
            let times = match arguments.times {
                true => ComparedTimes::Milliseconds,
                false => ComparedTimes::Ignored,
            };
            let text = diff(&read(&arguments.first)?, &read(&arguments.second)?, times);
            let code = match text.is_empty() {
                true => exit_code::SUCCESS,
                false => exit_code::DIFFERENT,
            };
            (text, code)
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever reads has seen enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        Err(error) => Err(format!("cannot print: {error}")),
        Ok(()) => Ok(code),
    }
}
