//! Recordings of MQTT sessions: what a client and a server have said to each other, as text.
//!
//! A [`Recorder`] writes one, of the bytes that go by a link. A [`Recording`] is what was read again: it can be
//! [shown](Recording::show), [compared](diff) with another, and played by the test broker of `ferromqtt-testing`. The clients of
//! `ferromqtt` and that broker record by themselves; you need this crate to record something else, such as a proxy.
//!
//! Reading needs the feature `read`, which is on by default. Without it the crate writes recordings, and depends on nothing more than
//! the core does; the clients have it so.
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
//! | from lines to entries | `recording.rs`, `entry.rs`, `read_json.rs` |
//! | two recordings | `diff.rs`, `align.rs` |
//! | what both have in common | `format.rs`, `json.rs` |

#[cfg(feature = "read")]
mod align;
mod cutter;
#[cfg(feature = "read")]
mod diff;
#[cfg(feature = "read")]
mod entry;
mod fields;
mod format;
mod json;
mod mask;
#[cfg(feature = "read")]
mod read_json;
mod recorder;
#[cfg(feature = "read")]
mod recording;
mod recording_file;

#[cfg(feature = "read")]
pub use diff::{ComparedTimes, diff};
#[cfg(feature = "read")]
pub use entry::{RecordedEntry, RecordedEvent, RecordedPacket};
pub use format::{ClosedBy, Receiver};
pub use recorder::{RecordedLink, RecordedPayloads, Recorder};
#[cfg(feature = "read")]
pub use recording::{Recording, RecordingError};
