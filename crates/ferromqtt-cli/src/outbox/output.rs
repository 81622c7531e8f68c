//! Standard output, which may be closed early, and standard error.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write};

use ferromqtt_store::StoreError;

/// Why a command ends before it is done.
#[derive(Debug)]
pub(crate) enum OutboxEnd {
    /// Whoever reads standard output has seen enough, such as `head`.
    OutputClosed,
    /// The reason, for standard error.
    Failed(String),
}

impl From<StoreError> for OutboxEnd {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Writes a line to standard error. Where that is closed, nobody reads it.
pub(crate) fn say(message: &str) {
    let _ = writeln!(io::stderr(), "ferromqtt: {message}");
}

/// Lines on standard output, written in pieces of some kilobytes.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), OutboxEnd> {
        writeln!(self.0, "{line}").map_err(print_failed)
    }

    /// Writes what is left. Without it, errors of the last piece would be lost.
    pub(crate) fn finish(mut self) -> Result<(), OutboxEnd> {
        self.0.flush().map_err(print_failed)
    }
}

fn print_failed(error: io::Error) -> OutboxEnd {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OutboxEnd::OutputClosed,
        _ => OutboxEnd::Failed(format!(
            "cannot print: {error}; give standard output another place"
        )),
    }
}

/// Prints what was done to an outbox. It is done, also if nobody reads that.
pub(crate) fn print_done(line: &str) -> Result<(), OutboxEnd> {
    let mut output = Output::new();
    match output.line(line).and_then(|()| output.finish()) {
        Err(OutboxEnd::OutputClosed) => Ok(()),
        done => done,
    }
}

/// A number and what it counts.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
