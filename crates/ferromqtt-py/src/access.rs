//! Borrowing an object that several threads may reach.
//!
//! PyO3's borrow is a flag in the object, which is changed by atomic operations. With the GIL no two threads meet at it: a
//! borrow is never held while Python code may run. Without the GIL they do, and where PyO3 would raise or panic, one waits here
//! for the other. A borrow ends after some Rust code that waits for nothing, so that is soon
//! (docs/design/0055-free-threaded.md).

use pyo3::PyClass;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::False;

pub(crate) trait Access<'py, T: PyClass> {
    /// Borrows it to read.
    fn read(&self) -> PyRef<'py, T>;

    /// Borrows it to change.
    fn lock(&self) -> PyRefMut<'py, T>
    where
        T: PyClass<Frozen = False>;

    /// As [`lock`](Self::lock), where code of the interpreter's choice runs, such as a finalizer: nothing if the very thread
    /// has it borrowed, as far as that can be known.
    fn try_lock(&self) -> Option<PyRefMut<'py, T>>
    where
        T: PyClass<Frozen = False>;
}

#[cfg(not(Py_GIL_DISABLED))]
impl<'py, T: PyClass> Access<'py, T> for Bound<'py, T> {
    #[inline]
    #[track_caller]
    fn read(&self) -> PyRef<'py, T> {
        self.borrow()
    }

    #[inline]
    #[track_caller]
    fn lock(&self) -> PyRefMut<'py, T>
    where
        T: PyClass<Frozen = False>,
    {
        self.borrow_mut()
    }

    fn try_lock(&self) -> Option<PyRefMut<'py, T>>
    where
        T: PyClass<Frozen = False>,
    {
        self.try_borrow_mut().ok()
    }
}

#[cfg(Py_GIL_DISABLED)]
impl<'py, T: PyClass> Access<'py, T> for Bound<'py, T> {
    #[inline]
    fn read(&self) -> PyRef<'py, T> {
        match self.try_borrow() {
            Ok(borrow) => borrow,
            Err(_) => wait_for(self.py(), || self.try_borrow().ok()),
        }
    }

    #[inline]
    fn lock(&self) -> PyRefMut<'py, T>
    where
        T: PyClass<Frozen = False>,
    {
        match self.try_borrow_mut() {
            Ok(borrow) => borrow,
            Err(_) => wait_for(self.py(), || self.try_borrow_mut().ok()),
        }
    }

    fn try_lock(&self) -> Option<PyRefMut<'py, T>>
    where
        T: PyClass<Frozen = False>,
    {
        Some(self.lock())
    }
}

/// Tries until another thread has ended its borrow.
#[cfg(Py_GIL_DISABLED)]
#[cold]
fn wait_for<B>(py: Python<'_>, attempt: impl Fn() -> Option<B>) -> B {
    /// A borrow that lasts longer belongs to a thread that does not run now.
    const SPINS: u32 = 100;
    loop {
        for _ in 0..SPINS {
            if let Some(borrow) = attempt() {
                return borrow;
            }
            std::hint::spin_loop();
        }
        // Detached, since the interpreter may stop all threads meanwhile: the other one could not go on.
        py.detach(std::thread::yield_now);
    }
}
