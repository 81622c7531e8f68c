//! What is told to `tracing`, if that feature is on. Never a payload, never a credential.

use crate::ConnectionError;

#[cfg(feature = "tracing")]
pub(crate) fn connected(session_present: bool) {
    tracing::info!(session_present, "connected");
}

#[cfg(feature = "tracing")]
pub(crate) fn disconnected(cause: &ConnectionError, retries: bool, unflushed: u64) {
    match cause {
        ConnectionError::Closed => tracing::info!("disconnected"),
        cause => tracing::warn!(%cause, retries, unflushed, "no connection"),
    }
}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn connected(_session_present: bool) {}

#[cfg(not(feature = "tracing"))]
pub(crate) const fn disconnected(_cause: &ConnectionError, _retries: bool, _unflushed: u64) {}
