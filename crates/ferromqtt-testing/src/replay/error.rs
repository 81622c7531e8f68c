//! Why a replay fails.

use std::fmt;

use thiserror::Error;

/// A recording that cannot be replayed, or a program that does something else than when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The recording was made without payloads.
    #[error(
        "the recording has no payloads, so that its server cannot be replayed: record it with payloads"
    )]
    NoPayloads,
    /// A line of the recording cannot be played.
    #[error("line {line} of the recording cannot be replayed: {problem}")]
    Unplayable {
        /// The line, from 1.
        line: usize,
        /// Why.
        problem: &'static str,
    },
    /// A client did something else.
    #[error(transparent)]
    Mismatch(#[from] Box<ReplayMismatch>),
    /// The clients did less.
    #[error(
        "the replay is not finished: {left} packets of the recording are left, and the next is {next}"
    )]
    Unfinished {
        /// How many packets were neither sent nor received.
        left: usize,
        /// The first of them, with its line and link.
        next: String,
    },
}

/// What a client did, and what the recording has there. Of data that the application sends, such as payloads, it has the
/// lengths. Its text leaves out `nearest` where that is `expected`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub struct ReplayMismatch {
    /// The Client Identifier, or the number of the connection.
    pub client: String,
    /// What came.
    pub came: String,
    /// What the recording has there, with its line; `None` when it has nothing more.
    pub expected: Option<String>,
    /// The most similar packet of a client in the recording, with its line.
    pub nearest: Option<String>,
}

impl fmt::Display for ReplayMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the replay fails at client {}\n  came:     {}",
            self.client, self.came
        )?;
        match &self.expected {
            Some(expected) => write!(f, "\n  expected: {expected}")?,
            None => f.write_str("\n  expected: nothing more of this client")?,
        }
        match &self.nearest {
            nearest if nearest == &self.expected && nearest.is_some() => Ok(()),
            Some(nearest) => write!(f, "\n  nearest:  {nearest}"),
            None => f.write_str("\n  nearest:  nothing in the recording is like it"),
        }
    }
}
