//! What the command's exit codes mean. Wrong usage is 2, and comes from the argument parser.

use std::process::ExitCode;

/// Done, or ended by the signal that it was waiting for.
pub(crate) const SUCCESS: ExitCode = ExitCode::SUCCESS;

/// It did not work; the reason is on standard error.
pub(crate) const FAILURE: ExitCode = ExitCode::FAILURE;
