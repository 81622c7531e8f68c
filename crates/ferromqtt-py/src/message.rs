//! A received message as a Python object.

use bytes::Bytes;
use ferromqtt_proto::{self as proto, Properties};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString, PyTuple, PyType};

use crate::hooks;
use crate::properties;

/// `PacketTypes.PUBLISH`.
const PUBLISH: u8 = 3;

/// A message that was received.
///
/// Attributes: `topic` (a `Topic`), `payload` (bytes), `qos`, `retain`, `mid` (the Packet Identifier, 0 at QoS 0), and
/// `properties` (a `Properties` object on MQTT 5.0, otherwise None).
#[pyclass(frozen, subclass, weakref, freelist = 256, module = "ferromqtt")]
pub(crate) struct Message {
    #[pyo3(get)]
    topic: Py<PyAny>,
    #[pyo3(get)]
    payload: Py<PyAny>,
    #[pyo3(get)]
    qos: Py<PyAny>,
    #[pyo3(get)]
    retain: Py<PyAny>,
    #[pyo3(get)]
    mid: Py<PyAny>,
    /// On 5.0: what `properties` is made of when somebody asks.
    received: Option<Received>,
    properties: PyOnceLock<Py<PyAny>>,
}

/// What `__reduce__` returns: the class, and the arguments to call it with.
type Reduced<'py> = (Bound<'py, PyType>, Bound<'py, PyTuple>);

struct Received(Option<Box<Properties>>);

impl Message {
    /// Makes the Python object; its payload is the one copy that is made of it.
    pub(crate) fn create<'py>(
        py: Python<'py>,
        topic: Bound<'py, PyAny>,
        message: proto::Message,
        v5: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let mid = message.packet_id.map_or(0, |id| id.get());
        Bound::new(
            py,
            Self {
                topic: topic.unbind(),
                payload: PyBytes::new(py, &message.payload).into_any().unbind(),
                qos: message.qos.value().into_pyobject(py)?.into_any().unbind(),
                retain: message
                    .retain
                    .into_pyobject(py)?
                    .to_owned()
                    .into_any()
                    .unbind(),
                mid: mid.into_pyobject(py)?.into_any().unbind(),
                received: v5.then_some(Received(message.properties)),
                properties: PyOnceLock::new(),
            },
        )
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (topic, payload, qos, retain, mid, properties))]
    fn new(
        topic: &Bound<'_, PyAny>,
        payload: Py<PyAny>,
        qos: Py<PyAny>,
        retain: Py<PyAny>,
        mid: Py<PyAny>,
        properties: Py<PyAny>,
    ) -> PyResult<Self> {
        let py = topic.py();
        let class = hooks::topic_class(py)?;
        let topic = if topic.is_instance(class)? {
            topic.clone()
        } else {
            class.call1((topic,))?
        };
        let given = PyOnceLock::new();
        let _ = given.set(py, properties);
        Ok(Self {
            topic: topic.unbind(),
            payload,
            qos,
            retain,
            mid,
            received: None,
            properties: given,
        })
    }

    #[getter]
    fn properties(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = self.properties.get_or_try_init(py, || {
            let Some(Received(received)) = &self.received else {
                return Ok(py.None());
            };
            let dict = properties::to_dict(py, received.as_deref())?;
            let made = hooks::from_native(py)?.call1((dict, PUBLISH))?;
            PyResult::Ok(made.unbind())
        })?;
        Ok(made.clone_ref(py))
    }

    /// For `copy` and `pickle`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let py = slf.py();
        let this = slf.get();
        let fields = [
            &this.topic,
            &this.payload,
            &this.qos,
            &this.retain,
            &this.mid,
            &this.properties(py)?,
        ]
        .map(|field| field.bind(py).clone());
        Ok((slf.get_type(), PyTuple::new(py, fields)?))
    }

    /// By identity, as equality is.
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize >> 4
    }

    fn __lt__(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = other.py();
        let other = other
            .cast::<Self>()
            .map_err(|_| PyTypeError::new_err("a Message can be compared with a Message only"))?;
        self.mid.bind(py).lt(other.get().mid.bind(py))
    }
}

/// Topics seen before, so that a stream of messages on few topics makes few objects.
#[derive(Default)]
pub(crate) struct TopicCache {
    last: Option<(Bytes, Py<PyAny>)>,
    known: Known,
}

type Known = std::collections::HashMap<Bytes, Py<PyAny>>;

/// So many topics are remembered; beyond, all are forgotten and learnt again.
const REMEMBERED: usize = 256;

impl TopicCache {
    pub(crate) fn get<'py>(&mut self, py: Python<'py>, name: &[u8]) -> Option<Bound<'py, PyAny>> {
        if let Some((last, topic)) = &self.last
            && last == name
        {
            return Some(topic.bind(py).clone());
        }
        let (key, topic) = self.known.get_key_value(name)?;
        self.last = Some((key.clone(), topic.clone_ref(py))); // the one before is in `known` still
        Some(topic.bind(py).clone())
    }

    /// Remembers a topic. What is forgotten for it is returned, for the caller to drop when that can do no harm.
    #[must_use]
    pub(crate) fn insert(&mut self, name: &[u8], topic: Py<PyAny>) -> Option<Self> {
        let forgotten = (self.known.len() >= REMEMBERED).then(|| std::mem::take(self));
        self.known.insert(Bytes::copy_from_slice(name), topic);
        forgotten
    }
}

/// A new `Topic` object.
pub(crate) fn make_topic<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    hooks::trusted_topic(py)?.call1((PyString::new(py, name),))
}
