//! Memory that Rust lends to Python's transports through the buffer protocol: where they read into, and what they write.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

/// One read from a socket brings at most this much: large enough that the cost of a read does not count, small enough
/// that what it brings is taken in well within a millisecond.
pub(crate) const READ_SIZE: usize = 128 * 1024;

/// So much is read at once for a sign of life, while a queue has no capacity: all of it has to be kept.
pub(crate) const LITTLE: isize = 4 * 1024;

/// Chunks below this size are copied into a `bytes` object, which costs less than a view of them.
const COPY_BELOW: usize = 4 * 1024;

/// Memory for transports to read into. It is never reallocated, so a view of it stays valid for as long as the object
/// lives; what was read is copied out at once, so the same memory serves every client of the process (without the GIL, of a
/// thread), and an idle client holds none.
///
/// Whoever has a view may write to the memory, or read it, at any moment at which its thread is attached or lends the view to
/// the system. So no reference to it is ever made here, shared or not: only raw pointers, which [`UnsafeCell`] allows.
#[pyclass(frozen, module = "ferromqtt._native")]
pub(crate) struct ReadBuffer {
    memory: Box<[UnsafeCell<u8>]>,
    /// How many views there are.
    exports: AtomicUsize,
}

// SAFETY: the memory is reached through raw pointers alone. Rust reads it in `copy_to` alone, for the thread that the transport
// has read in (see `shared`); Python writes it through views, by the rules of the buffer protocol.
#[allow(unsafe_code, reason = "see the lines above")]
unsafe impl Sync for ReadBuffer {}

impl ReadBuffer {
    fn new() -> Self {
        Self {
            memory: (0..READ_SIZE).map(|_| UnsafeCell::new(0)).collect(),
            exports: AtomicUsize::new(0),
        }
    }

    /// A buffer that no transport reads into at this moment: the shared one, if that is free, or a new one. (A proactor loop
    /// keeps its view while it waits; selector loops and uvloop give it back within the same callback.)
    pub(crate) fn free(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        let shared = Self::shared(py)?;
        if shared.get().exports.load(Ordering::Acquire) == 0 {
            return Ok(shared);
        }
        Bound::new(py, Self::new())
    }

    /// The buffer that all clients share: between the moment at which one is found free and the end of its use, the GIL is
    /// released only while there is a view of it.
    #[cfg(not(Py_GIL_DISABLED))]
    fn shared(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        static SHARED: pyo3::sync::PyOnceLock<Py<ReadBuffer>> = pyo3::sync::PyOnceLock::new();
        let shared = SHARED.get_or_try_init(py, || Py::new(py, Self::new()))?;
        Ok(shared.bind(py).clone())
    }

    /// The buffer that all clients of this thread share: its event loop uses it for one of them at a time.
    #[cfg(Py_GIL_DISABLED)]
    fn shared(py: Python<'_>) -> PyResult<Bound<'_, Self>> {
        thread_local! {
            static SHARED: std::cell::OnceCell<Py<ReadBuffer>> = const { std::cell::OnceCell::new() };
        }
        let known = SHARED.try_with(|cell| cell.get().map(|it| it.bind(py).clone()));
        if let Ok(Some(shared)) = known {
            return Ok(shared);
        }
        let made = Bound::new(py, Self::new())?;
        let _ = SHARED.try_with(|cell| cell.set(made.clone().unbind()).map_err(drop));
        Ok(made)
    }

    /// Appends the first `count` bytes, which a transport has just written, or all if there are not so many.
    pub(crate) fn copy_to(&self, input: &mut BytesMut, count: usize) {
        let count = count.min(self.memory.len());
        input.reserve(count);
        let filled = input.len();
        let room = &mut input.spare_capacity_mut()[..count];
        #[allow(unsafe_code, reason = "no reference to memory that Python writes")]
        // SAFETY: both ranges are `count` bytes long, by the two lines above. They do not overlap, since `input` has memory of
        // its own, of which Python knows nothing. `memory` is initialized. It is of this thread, and no Python code runs meanwhile, so
        // nobody writes to it who keeps to the rules of the buffer protocol. Then that many more bytes of `input` are
        // initialized.
        unsafe {
            let start = UnsafeCell::raw_get(self.memory.as_ptr()).cast_const();
            ptr::copy_nonoverlapping(start, room.as_mut_ptr().cast(), count);
            input.set_len(filled + count);
        }
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
        let memory = &slf.get().memory;
        let start = UnsafeCell::raw_get(memory.as_ptr());
        // SAFETY: `view` comes from the interpreter. The memory may be written through a shared reference, by its
        // `UnsafeCell`s; it is never moved nor resized, and lives as long as `slf`, to which the view gets a reference of
        // its own.
        unsafe {
            fill(
                view,
                slf.as_ptr(),
                start,
                memory.len(),
                false,
                flags,
                slf.py(),
            )?
        };
        slf.get().exports.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    #[allow(unsafe_code, reason = "the buffer protocol is made of raw pointers")]
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        // The interpreter calls this once for each view that was filled.
        self.exports.fetch_sub(1, Ordering::AcqRel);
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

/// Fills a buffer view that keeps `owner` alive, or leaves it without an owner, as the buffer protocol asks for.
///
/// # Safety
/// `view` must be null or valid for writing. The `length` bytes at `start` must be initialized and live as long as `owner`,
/// at the same place; unless `readonly`, they must be allowed to change while shared references to `owner` exist.
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
    // SAFETY: by this function's own contract; the object of a view that is not filled must be null.
    let result = unsafe {
        (*view).obj = ptr::null_mut();
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

/// The chunk that [`for_transport`] has made this of: a layer is the transport of the core.
pub(crate) fn of_chunk(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    let chunk = data.getattr(intern!(data.py(), "obj"))?;
    Ok(chunk.cast::<Chunk>()?.get().0.clone())
}
