//! The native module's allocator, which gives the memory of a large backlog back in small steps
//! (docs/design/0006-allocator.md).

use std::ffi::c_long;
use std::sync::Once;

use libmimalloc_sys as _; // linked behind `allocator.c`, which calls it
use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(unsafe_code, reason = "C functions")]
// SAFETY: these are the functions of `allocator.c`, with its types. Each stores or loads a number, and may be called at any
// time and by any thread, so calling them is safe.
unsafe extern "C" {
    /// Sets how many milliseconds pass until free memory is given back.
    safe fn ferromqtt_set_purge_delay(milliseconds: c_long);
    safe fn ferromqtt_purge_delay() -> c_long;
}

/// Sets the allocator up; once a process.
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    // What is freed within the delay is given back in one go; mimalloc's default is too much of a backlog.
    ONCE.call_once(|| ferromqtt_set_purge_delay(1));
}

/// Milliseconds until memory that the module has freed is given back to the operating system.
#[pyfunction]
pub(crate) fn purge_delay() -> c_long {
    ferromqtt_purge_delay()
}
