//! Recordings of MQTT sessions: what a client and a server have said to each other, as text.
//!
//! A [`Recorder`] writes one, of the bytes that go by a link. A [`Recording`] is what was read again: it can be
//! [shown](Recording::show), [compared](diff) with another, and played by the test broker of `ferromqtt-testing`. The clients of
//! `ferromqtt` and that broker record by themselves; you need this crate to record something else, such as a proxy.
//!
//! # Format
//! JSON Lines in UTF-8, a line each for a packet and for the beginning and end of a link. The page `docs/recordings.md` has
//! the members of each. Names are those of the MQTT standard.
//!
//! # Map
//! | What | Where |
//! | --- | --- |
//! | from bytes to lines | `recorder.rs`, `cutter.rs`, `fields.rs` |
//! | what is left out of them | `mask.rs` |
//! | from lines to entries | `recording.rs`, `entry.rs` |
//! | two recordings | `diff.rs`, `align.rs` |
//! | JSON | `json.rs` |

mod align;
mod cutter;
mod diff;
mod entry;
mod fields;
mod json;
mod mask;
mod recorder;
mod recording;
mod recording_file;

pub use diff::{ComparedTimes, diff};
pub use entry::{ClosedBy, Receiver, RecordedEntry, RecordedEvent, RecordedPacket};
pub use recorder::{RecordedLink, RecordedPayloads, Recorder};
pub use recording::{Recording, RecordingError};
