//! How much is ahead of the core in a transport, and how far it has come.

use std::time::Instant;

use ferromqtt_proto::{Progress, TcpProgress};
use pyo3::intern;
use pyo3::prelude::*;

use crate::access::Access;
use crate::core::Core;

/// How much a transport is given, since one of asyncio takes whatever it gets, and what it holds can be neither taken back
/// nor told from what the peer has: at most 256 KiB are ahead of the core.
#[derive(Clone, Copy)]
pub(crate) struct WriteLimits {
    /// The most that it gets at once.
    pub(crate) slice: usize,
    /// It pauses the core when it holds more than this.
    pub(crate) buffer: usize,
}

impl WriteLimits {
    pub(crate) const PLAIN: Self = Self {
        slice: 192 * 1024,
        buffer: 64 * 1024,
    };
    /// Below the one buffer there is another, which has a limit of 64 KiB, and may exceed it by one slice too.
    pub(crate) const TLS: Self = Self {
        slice: 80 * 1024,
        buffer: 32 * 1024,
    };

    pub(crate) fn of(transport: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = transport.py();
        let tls =
            transport.call_method1(intern!(py, "get_extra_info"), (intern!(py, "ssl_object"),))?;
        Ok(if tls.is_none() {
            Self::PLAIN
        } else {
            Self::TLS
        })
    }
}

/// Whether a transport may hold bytes that it does not tell of: one of asyncio with TLS, while the peer has not acknowledged
/// everything.
pub(crate) fn hides_unwritten(
    slf: &Bound<'_, Core>,
    transport: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    let py = slf.py();
    let tls =
        transport.call_method1(intern!(py, "get_extra_info"), (intern!(py, "ssl_object"),))?;
    if tls.is_none() {
        return Ok(false);
    }
    let tcp: Option<(u64, u64)> = slf.call_method0(intern!(py, "_tcp_progress"))?.extract()?;
    Ok(tcp.is_some_and(|(_, unacknowledged)| unacknowledged > 0))
}

/// Reports how far the bytes handed over have come, if the core wants to know. The transport is asked only then.
pub(crate) fn report(slf: &Bound<'_, Core>, now: Instant) -> PyResult<()> {
    let py = slf.py();
    let core = slf.read();
    let (true, Some(transport)) = (core.engine.core().wants_progress(now, 0), &core.transport)
    else {
        return Ok(());
    };
    let transport = transport.clone_ref(py);
    drop(core);
    let buffered = transport.call_method0(py, intern!(py, "get_write_buffer_size"))?;
    let unwritten: u64 = buffered.extract(py)?;
    if !(slf.read().engine.core()).wants_progress(now, unwritten) {
        return Ok(());
    }
    let tcp: Option<(u64, u64)> = slf.call_method0(intern!(py, "_tcp_progress"))?.extract()?;
    let tcp = tcp.map(|(acknowledged, unacknowledged)| TcpProgress {
        acknowledged,
        unacknowledged,
    });
    let mut core = slf.lock();
    let progress = Progress {
        unwritten,
        // What a transport holds, it has offered to the socket before.
        held_up: unwritten > 0 || core.held_up,
        tcp,
    };
    if let Some(link) = core.link {
        core.engine.progress(now, link, unwritten, || progress);
    }
    Ok(())
}
