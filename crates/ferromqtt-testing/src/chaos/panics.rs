//! Panics of a run, kept for its report instead of printed at once: shrinking plays hundreds of runs that panic.

use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

thread_local! {
    /// The panics of this thread since the capture began; `None` without one.
    static CAPTURED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Captures this thread's panics until it is dropped.
pub(super) struct PanicCapture(());

impl PanicCapture {
    pub(super) fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let previous = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                if !capture(info) {
                    previous(info);
                }
            }));
        });
        CAPTURED.set(Some(Vec::new()));
        Self(())
    }

    /// What was captured: a text for each panic, with its place.
    pub(super) fn take(&self) -> Vec<String> {
        CAPTURED
            .with_borrow_mut(|captured| captured.as_mut().map(std::mem::take).unwrap_or_default())
    }
}

impl Drop for PanicCapture {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

/// Keeps the text of a panic, if this thread captures; it may be in the middle of anything.
fn capture(info: &PanicHookInfo<'_>) -> bool {
    let captured = CAPTURED.try_with(|captured| {
        let Ok(mut captured) = captured.try_borrow_mut() else {
            return false;
        };
        let Some(panics) = captured.as_mut() else {
            return false;
        };
        let message = text_of(info).unwrap_or("a panic without a text");
        let place = info.location().map(|it| format!(" (at {it})"));
        panics.push(format!("{message}{}", place.unwrap_or_default()));
        true
    });
    captured.unwrap_or(false)
}

fn text_of<'a>(info: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}
