//! The native module's allocator, which gives the memory of a large backlog back in small steps
//! (docs/design/0006-allocator.md).

use std::sync::Once;

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of `mimalloc.h`, which the bindings do not name: milliseconds until free memory is given back.
const PURGE_DELAY: mi_option_t = 15;

/// Sets the allocator up; once a process.
pub(crate) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // What is freed within the delay is given back in one go; the default of 10 ms is too much of a backlog.
        #[allow(unsafe_code, reason = "a C function")]
        // SAFETY: the function stores a number, and may be called at any time.
        unsafe {
            mi_option_set(PURGE_DELAY, 1);
        };
    });
}
