//! How callers and iterators of an event loop wait: what the engine keeps for each of them.

use ferromqtt_engine::{Awaited, Engine, ReaderId, Tokens};
use pyo3::prelude::*;

/// Callers and iterators wait on futures of their event loop.
pub(crate) struct PyTokens;

impl Tokens for PyTokens {
    // A step of an iterator that was woken takes its message, or gives it up when it is cancelled, closed or dropped.
    const RESERVES: bool = true;
    type Call = Call;
    type Reader = Reader;
}

/// The engine with futures as its tokens.
pub(crate) type PyEngine = Engine<PyTokens>;

/// A call that waits.
pub(crate) struct Call {
    pub(crate) future: Py<PyAny>,
    pub(crate) awaited: Awaited,
    /// It completes with what became of a message, and not with None.
    pub(crate) wants_outcome: bool,
    /// Its time limit in seconds, for an error.
    pub(crate) limit: f32,
}

/// A step of an iterator that waits, or that was woken and has a message reserved; or a reader of events that waits.
pub(crate) struct Reader {
    pub(crate) future: Py<PyAny>,
    /// `None` for a reader of events, for which nothing is reserved.
    pub(crate) name: Option<ReaderId>,
}
