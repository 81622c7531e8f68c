//! A message of a subscription that has templates or a codec.
//!
//! It is a class of its own, so that a message without them is no larger and is dropped as before.

use pyo3::PyClassInitializer;
use pyo3::exceptions::{PyAttributeError, PyException};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::access::Access;
use crate::decoding::Decoding;
use crate::gate;
use crate::hooks;
use crate::message::{Message, drop_in_turn};
use crate::message_properties::{self, MessageAttribute};

/// What reading the value of a message raises that no codec is for.
const NO_CODEC: &str = "This message has no value: it came by no codec. Give client.subscription() a codec, or decode \
                        message.payload";

// Python's form of `ferromqtt::TypedMessage`.
/// A message of a subscription with templates or a codec: see docs/codecs.md and docs/topic-templates.md.
///
/// The payload is decoded when `value` or `error` is read first, in the task that reads it, and only then.
///
/// Attributes:
///     params: The levels of the topic that the first matching template names, by name.
///     value: What the codec has made of the payload. Raises the `PayloadError` that `error` returns where it cannot,
///         and AttributeError for a subscription without a codec.
///     error: Why the payload cannot be decoded: a `PayloadError`, or None if it can, or without a codec.
#[pyclass(subclass, extends = Message, generic, module = "ferromqtt")]
pub(crate) struct TypedMessage {
    /// None for one that the program has made or copied.
    decoding: Option<Py<Decoding>>,
    params: Option<Py<PyDict>>,
    decoded: Decoded,
}

/// What has become of a payload.
enum Decoded {
    /// Nobody has asked.
    NotYet,
    Value(Py<PyAny>),
    /// The `PayloadError`.
    Failed(Py<PyAny>),
}

impl Decoded {
    fn clone_ref(&self, py: Python<'_>) -> Self {
        match self {
            Self::NotYet => Self::NotYet,
            Self::Value(value) => Self::Value(value.clone_ref(py)),
            Self::Failed(error) => Self::Failed(error.clone_ref(py)),
        }
    }
}

impl TypedMessage {
    /// Makes the Python object of a message.
    pub(crate) fn of(
        message: Message,
        decoding: Py<Decoding>,
        py: Python<'_>,
    ) -> PyResult<Bound<'_, Self>> {
        let this = Self::read_by(Some(decoding));
        Bound::new(py, PyClassInitializer::from(message).add_subclass(this))
    }

    const fn read_by(decoding: Option<Py<Decoding>>) -> Self {
        Self {
            decoding,
            params: None,
            decoded: Decoded::NotYet,
        }
    }

    /// Reads a message, an empty one of a subclass, as another one is read.
    pub(crate) fn read_as(&mut self, other: &Self, py: Python<'_>) {
        self.decoding = other.decoding.as_ref().map(|it| it.clone_ref(py));
    }

    /// Decodes the payload, unless that was done. The message is not borrowed meanwhile: a codec is code of the user's.
    fn decode(slf: &Bound<'_, Self>) -> PyResult<Decoded> {
        let py = slf.py();
        let this = slf.read();
        if !matches!(this.decoded, Decoded::NotYet) {
            return Ok(this.decoded.clone_ref(py));
        }
        let decoding = this.decoding.as_ref().map(|it| it.bind(py).clone());
        drop(this);
        let Some((decode, codec)) = decoding.as_ref().and_then(|it| it.get().codec()) else {
            return Ok(Decoded::NotYet);
        };
        let payload = slf.getattr(intern!(py, "payload"))?;
        let decoded = match decode.bind(py).call1((payload,)) {
            Ok(value) => Decoded::Value(value.unbind()),
            // Others, such as KeyboardInterrupt, say nothing of the payload, which may be decoded later.
            Err(cause) if cause.is_instance_of::<PyException>(py) => {
                let topic = slf.getattr(intern!(py, "topic"))?;
                let error = hooks::undecodable(py)?.call1((topic, codec, cause.into_value(py)))?;
                Decoded::Failed(error.unbind())
            }
            Err(error) => return Err(error),
        };
        let mut this = slf.lock();
        if matches!(this.decoded, Decoded::NotYet) {
            this.decoded = decoded; // which drops nothing
        } // else another thread, or the codec itself, was faster: the first value stays
        Ok(this.decoded.clone_ref(py))
    }

    /// Everything of Python's, for the caller to drop.
    fn take_all(&mut self) -> impl Sized + use<> + 'static {
        let decoded = std::mem::replace(&mut self.decoded, Decoded::NotYet);
        (self.decoding.take(), self.params.take(), decoded)
    }
}

#[pymethods]
impl TypedMessage {
    // As of `Message`, which `__init__` fills.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(topic, payload, qos, retain, mid, properties)"
    )]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyClassInitializer<Self> {
        PyClassInitializer::from(Message::empty(_args.py())).add_subclass(Self::read_by(None))
    }

    /// The levels of the topic that the first matching template of the subscription names, by name. Empty without one.
    #[getter]
    fn params<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let _inside = gate::enter()?;
        let py = slf.py();
        let this = slf.read();
        if let Some(params) = &this.params {
            return Ok(params.bind(py).clone());
        }
        let decoding = this.decoding.as_ref().map(|it| it.bind(py).clone());
        drop(this);
        let params = match decoding {
            Some(decoding) => {
                let topic = slf.getattr(intern!(py, "topic"))?;
                decoding.get().params(&topic)?
            }
            None => PyDict::new(py),
        };
        let mut this = slf.lock();
        let params = this.params.get_or_insert_with(|| params.unbind());
        Ok(params.bind(py).clone())
    }

    /// What the codec has made of the payload. Raises the error that `error` returns where it cannot.
    #[getter]
    fn value(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let _inside = gate::enter()?;
        let py = slf.py();
        match Self::decode(slf)? {
            Decoded::Value(value) => Ok(value),
            Decoded::Failed(error) => {
                let error = error.into_bound(py);
                // Raised as a new one each time: a traceback that grew with each would keep all its frames.
                error.setattr(intern!(py, "__traceback__"), py.None())?;
                Err(PyErr::from_value(error))
            }
            Decoded::NotYet => Err(PyAttributeError::new_err(NO_CODEC)),
        }
    }

    /// Why the payload cannot be decoded: a `PayloadError`; None if it can, or without a codec.
    #[getter]
    fn error(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let _inside = gate::enter()?;
        match Self::decode(slf)? {
            Decoded::Failed(error) => Ok(Some(error)),
            Decoded::Value(_) | Decoded::NotYet => Ok(None),
        }
    }

    // As of `Message`, and behind what that has the names and the value or the error: a codec may be a module, which cannot be
    // pickled.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let _inside = gate::enter()?;
        let py = slf.py();
        let base = slf.as_any().cast::<Message>()?;
        let (make, class, (fields, added, dup)) = Message::__reduce__(base)?;
        let params = Self::params(slf)?;
        let (has_value, decoded) = match Self::decode(slf)? {
            Decoded::NotYet => (None, None),
            Decoded::Value(value) => (Some(true), Some(value)),
            Decoded::Failed(error) => (Some(false), Some(error)),
        };
        let state = (fields, added, dup, params, has_value, decoded);
        (make, class, state).into_pyobject(py)
    }

    fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        let _inside = gate::enter()?;
        Message::__setstate__(slf.as_any().cast()?, state)?;
        let params = state.get_item(3)?.extract()?;
        let has_value: Option<bool> = state.get_item(4)?.extract()?;
        let decoded = state.get_item(5)?.unbind();
        let copied = Self {
            decoding: None,
            params: Some(params),
            decoded: match has_value {
                None => Decoded::NotYet,
                Some(true) => Decoded::Value(decoded),
                Some(false) => Decoded::Failed(decoded),
            },
        };
        let former = std::mem::replace(&mut *slf.lock(), copied);
        drop(former); // with the message released, since that may run code of the user's
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.decoding)?;
        visit.call(&self.params)?;
        match &self.decoded {
            Decoded::NotYet => Ok(()),
            Decoded::Value(object) | Decoded::Failed(object) => visit.call(object),
        }
    }

    /// What is taken out is dropped once the message is released, as of `Message`.
    fn __clear__(slf: &Bound<'_, Self>) {
        let held = slf.try_borrow_mut().map(|mut this| this.take_all()).ok();
        release(held);
    }
}

impl Drop for TypedMessage {
    fn drop(&mut self) {
        Python::attach(|_| release(self.take_all()));
    }
}

/// As [`gate::release`]. A value may be another message, and so on.
fn release<T: 'static>(held: T) {
    match gate::enter() {
        Ok(_inside) => drop_in_turn(held),
        Err(_) => std::mem::forget(held),
    }
}

/// What a [`Message`] has in place of the names of a [`TypedMessage`].
struct NoParams;

impl MessageAttribute for NoParams {
    fn name(&self) -> &'static str {
        "params"
    }

    fn doc(&self) -> &'static str {
        "The named levels of the topic, by name, of a subscription with templates. Empty otherwise."
    }

    fn value<'py>(&self, message: &Bound<'py, Message>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyDict::new(message.py()).into_any())
    }
}

/// What a [`Message`] has in place of the value of a [`TypedMessage`].
struct NoValue;

impl MessageAttribute for NoValue {
    fn name(&self) -> &'static str {
        "value"
    }

    fn doc(&self) -> &'static str {
        "What a codec has made of the payload. AttributeError for a message that came by none."
    }

    fn value<'py>(&self, _message: &Bound<'py, Message>) -> PyResult<Bound<'py, PyAny>> {
        Err(PyAttributeError::new_err(NO_CODEC))
    }
}

/// Gives [`Message`] these attributes.
pub(crate) fn finish_type(py: Python<'_>) -> PyResult<()> {
    message_properties::add(py, &NoParams)?;
    message_properties::add(py, &NoValue)
}
