//! The outbox of a client: its outgoing messages, and its session, in a durable store.
//!
//! An [`Outbox`] says where and how much. Both clients of `ferromqtt` open it by themselves, so you need this crate only to write
//! a client of your own, above `ferromqtt_engine`:
//!
//! 1. [`Outbox::open`] reads the folder, and blocks as its disk does. [`OpenedOutbox::settle_options`] has the core's options follow
//!    from it, and [`OpenedOutbox::take_session`] is the session for a new engine.
//! 2. [`OpenedOutbox::start`] gives that engine the messages, and starts the store's thread. That calls a function of yours when
//!    there is something to do.
//! 3. Then, and whenever the engine has been called, call [`RunningOutbox::settle`].
//! 4. [`RunningOutbox::close`] when no connection follows: then the folder is free again.
//!
//! What is on the disk and when is the matter of `ferromqtt_store`; which packets wait for it, of `ferromqtt_proto`. What is here is
//! between them: how messages ended, commands from beside the owner, and a store that cannot keep up, is full, or fails.
//! `docs/outbox.md` of the repository is the page for users.

mod identifier;
mod opened;
mod outbox;
mod running;
#[cfg(test)]
mod running_tests;
mod stats;

pub use ferromqtt_store::{StoreCounters, StoreError, StoreSync};
pub use opened::OpenedOutbox;
pub use outbox::Outbox;
pub use running::RunningOutbox;
pub use stats::OutboxStats;
