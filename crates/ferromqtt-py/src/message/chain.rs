//! How a message is dropped: a chain of messages, each held by a field of the one before, is taken apart link by link.

use std::any::Any;
use std::cell::{Cell, RefCell};

use pyo3::prelude::*;
#[cfg(not(Py_GIL_DISABLED))]
use pyo3::types::{PyBytes, PyInt};

#[cfg(not(Py_GIL_DISABLED))]
use super::is_last;
use super::{Field, Lazy, Message};
use crate::acknowledge::Origin;
use crate::gate;
use crate::typed_message::TypedMessage;

/// The fields of a message that is about to be dropped, and its origin.
type Parts = ([Field; 6], Option<Box<Origin>>);

impl Message {
    /// Takes out everything of Python's, of a message that is about to be dropped.
    fn take_apart(&mut self) -> Parts {
        let properties = match std::mem::replace(&mut self.properties, Lazy::Received(None)) {
            Lazy::Made(properties) => Some(properties),
            Lazy::Received(_) => None,
        };
        let fields = [
            self.topic.take(),
            self.payload.take(),
            self.qos.take(),
            self.retain.take(),
            self.mid.take(),
            properties,
        ];
        (fields, self.origin.take())
    }

    /// Whether releasing what it has runs no Python code and drops no other message, as of nearly every message that was
    /// received: it is bytes, a number, or somebody else has it too.
    #[cfg(not(Py_GIL_DISABLED))]
    fn is_plain(&self, py: Python<'_>) -> bool {
        let is_plain = |object: &Py<PyAny>| {
            let object = object.bind(py);
            !is_last(object.as_unbound())
                || object.is_exact_instance_of::<PyBytes>()
                || object.is_exact_instance_of::<PyInt>()
        };
        let is_plain_field = |field: &Field| field.as_ref().is_none_or(is_plain);
        let properties = match &self.properties {
            Lazy::Made(properties) => is_plain(properties),
            Lazy::Received(_) => true,
        };
        // Written out: a loop over them takes as long again as the looks.
        self.origin.is_none()
            && properties
            && is_plain_field(&self.payload)
            && is_plain_field(&self.topic)
            && is_plain_field(&self.qos)
            && is_plain_field(&self.retain)
            && is_plain_field(&self.mid)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        Python::attach(|py| {
            #[cfg(not(Py_GIL_DISABLED))]
            if self.is_plain(py) {
                // A `Py` would ask whether the thread is attached, each by itself.
                let fields = [
                    &mut self.topic,
                    &mut self.payload,
                    &mut self.qos,
                    &mut self.retain,
                    &mut self.mid,
                ];
                for field in fields {
                    drop(field.take().map(|field| field.into_bound(py)));
                }
                return;
            }
            let parts = self.take_apart();
            match gate::enter() {
                Ok(_inside) => release(py, parts),
                Err(_) => std::mem::forget(parts), // releasing them may run Python code
            }
        });
    }
}

/// Releases what a message had. Without the GIL nobody can tell whether it is the last to have an object.
#[cfg(Py_GIL_DISABLED)]
fn release(_: Python<'_>, parts: Parts) {
    drop_in_turn(parts);
}

/// Drops what a message had, and whatever hangs on it: each message in a chain is dropped by the one before, down to a depth at
/// which the stack is not yet in danger; what follows is left to the outermost.
pub(crate) fn drop_in_turn<T: 'static>(held: T) {
    /// So many messages may be dropped by each other.
    const DEEPEST: u32 = 50;

    thread_local! {
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        static LEFT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    }

    // A thread that ends has no depth any more: it drops what it has at once.
    let Ok(depth) = DEPTH.try_with(Cell::get) else {
        return drop(held);
    };
    if depth >= DEEPEST {
        let mut held = Some(held);
        let _ = LEFT.try_with(|left| {
            let held = held.take().map(|held| Box::new(held) as Box<dyn Any>);
            left.borrow_mut().extend(held);
        });
        return drop(held);
    }
    let _ = DEPTH.try_with(|it| it.set(depth + 1));
    drop(held);
    while depth == 0
        && let Some(left) = LEFT.try_with(|left| left.borrow_mut().pop()).ok().flatten()
    {
        drop(left);
    }
    let _ = DEPTH.try_with(|it| it.set(depth));
}

/// Releases what a message had. Messages among it that nobody else has follow one after the other: each to be dropped by the
/// one before, a long chain of them would overflow the stack. Those of a subclass are left to CPython, which defers such
/// chains, since a finalizer of theirs may look at their fields.
#[cfg(not(Py_GIL_DISABLED))]
fn release(py: Python<'_>, parts: Parts) {
    let mut links = Vec::new();
    let mut next = Some(parts);
    loop {
        if let Some((fields, origin)) = next.take() {
            for field in fields.into_iter().flatten() {
                let field = field.into_bound(py);
                if is_last(field.as_unbound())
                    && (field.is_exact_instance_of::<Message>()
                        || field.is_exact_instance_of::<TypedMessage>())
                    && let Ok(message) = field.cast_into::<Message>()
                {
                    links.push(message);
                }
            }
            drop(origin);
        }
        let Some(message) = links.pop() else {
            return;
        };
        if is_last(message.as_unbound())
            && let Ok(mut message) = message.try_borrow_mut()
        {
            next = Some(message.take_apart());
        }
    }
}
