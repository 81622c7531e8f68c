//! What the command's exit codes mean. Wrong usage is 2, and comes from the argument parser.

use std::process::ExitCode;

/// Done, or ended by the signal that it was waiting for.
pub(crate) const SUCCESS: ExitCode = ExitCode::SUCCESS;

/// It did not work; the reason is on standard error.
pub(crate) const FAILURE: ExitCode = ExitCode::FAILURE;

/// What was compared is different.
pub(crate) const DIFFERENT: ExitCode = ExitCode::FAILURE;

/// What was checked is damaged.
pub(crate) const DAMAGED: ExitCode = ExitCode::FAILURE;

/// A command whose failure would look like an answer did not work; the reason is on standard error.
pub(crate) fn no_answer() -> ExitCode {
    ExitCode::from(2)
}
