//! What unit tests share.

use std::sync::OnceLock;
use std::time::Instant;

/// The beginning of virtual time: the same at every call.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant can be made in no other way; tests only add to it"
)]
pub(crate) fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
