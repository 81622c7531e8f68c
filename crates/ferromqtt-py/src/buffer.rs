//! Memory that Rust lends to Python's transports through the buffer protocol: where they read into, and what they write.

use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;

use bytes::Bytes;
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// One read from a socket brings at most this much: large enough that the cost of a read does not count, small enough
/// that what it brings is taken in well within a millisecond.
pub(crate) const READ_SIZE: usize = 128 * 1024;

/// Chunks below this size are copied into a `bytes` object, which costs less than a view of them.
const COPY_BELOW: usize = 4 * 1024;

/// Memory for transports to read into. It is never reallocated, so a view of it stays valid for as long as the object
/// lives; what was read is copied out at once, so the same memory serves every client of the process, and an idle client
/// holds none.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct ReadBuffer {
    memory: UnsafeCell<Box<[u8]>>,
    exports: Cell<usize>,
}

// SAFETY: the class is used with the GIL held only (`gil_used = true`), so no two threads touch its cells at once.
#[allow(unsafe_code, reason = "see the line above")]
unsafe impl Sync for ReadBuffer {}

impl ReadBuffer {
    fn new() -> Self {
        Self {
            memory: UnsafeCell::new(vec![0; READ_SIZE].into_boxed_slice()),
            exports: Cell::new(0),
        }
    }

    /// A buffer that no transport reads into at this moment: `recent`, if that is free, or a new one. (A proactor loop
    /// keeps its view while it waits; selector loops and uvloop give it back within the same callback.)
    pub(crate) fn free<'py>(py: Python<'py>, recent: &Py<Self>) -> PyResult<Bound<'py, Self>> {
        let recent = recent.bind(py);
        if recent.get().exports.get() == 0 {
            return Ok(recent.clone());
        }
        Bound::new(py, Self::new())
    }

    /// The buffer that all clients share.
    pub(crate) fn shared(py: Python<'_>) -> PyResult<&Py<Self>> {
        static SHARED: pyo3::sync::PyOnceLock<Py<ReadBuffer>> = pyo3::sync::PyOnceLock::new();
        SHARED.get_or_try_init(py, || Py::new(py, Self::new()))
    }

    /// The first `count` bytes, which a transport has just written.
    pub(crate) fn with_read<R>(&self, count: usize, use_it: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: the GIL is held, and `use_it` runs no Python code: nobody writes through a view meanwhile.
        #[allow(unsafe_code, reason = "see the line above")]
        let memory = unsafe { &*self.memory.get() };
        use_it(&memory[..count.min(memory.len())])
    }
}

#[pymethods]
impl ReadBuffer {
    #[allow(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        // SAFETY: the GIL is held and no other reference to the box exists now; this one ends with the line, and only the
        // address of the memory is kept, which does not move.
        let memory = unsafe { &mut *this.memory.get() };
        let (start, length) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: `view` comes from the interpreter. The memory is writable, and lives as long as `slf`, to which the
        // view gets a reference of its own.
        unsafe { fill(view, slf.as_ptr(), start, length, false, flags, slf.py())? };
        this.exports.set(this.exports.get() + 1);
        Ok(())
    }

    #[allow(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.exports.set(self.exports.get().saturating_sub(1));
    }
}

/// A chunk for the transport to write: immutable, never reused, kept alive by whoever still holds a view of it.
#[pyclass(frozen, module = "ferromqtt._native")]
struct Chunk(Bytes);

#[pymethods]
impl Chunk {
    #[allow(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        // SAFETY: `view` comes from the interpreter. The memory is only ever read (the view is marked so), is never
        // changed, and lives as long as `slf`, to which the view gets a reference of its own.
        unsafe {
            fill(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut(),
                bytes.len(),
                true,
                flags,
                slf.py(),
            )
        }
    }
}

/// Fills a buffer view that keeps `owner` alive.
///
/// # Safety
/// `view` must be null or valid for writing, and the `length` bytes at `start` must live as long as `owner`.
#[allow(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
unsafe fn fill(
    view: *mut ffi::Py_buffer,
    owner: *mut ffi::PyObject,
    start: *mut u8,
    length: usize,
    readonly: bool,
    flags: c_int,
    py: Python<'_>,
) -> PyResult<()> {
    if view.is_null() {
        return Err(PyBufferError::new_err("no view to fill"));
    }
    // SAFETY: by this function's own contract.
    let result = unsafe {
        ffi::PyBuffer_FillInfo(
            view,
            owner,
            start.cast(),
            length as ffi::Py_ssize_t,
            readonly.into(),
            flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(PyErr::fetch(py))
    }
}

/// What a transport's `write` takes for a chunk.
pub(crate) fn for_transport<'py>(py: Python<'py>, chunk: Bytes) -> PyResult<Bound<'py, PyAny>> {
    if chunk.len() < COPY_BELOW {
        return Ok(PyBytes::new(py, &chunk).into_any());
    }
    let chunk = Bound::new(py, Chunk(chunk))?;
    Ok(PyMemoryView::from(chunk.as_any())?.into_any())
}
