//! From Python's arguments to the core's types, with the errors that users of aiomqtt know.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ferromqtt_proto::{
    CleanStart, Options, OutgoingLimits, OutgoingPolicy, Overflow, ProtocolVersion, QoS,
    QueueOptions, Reconnect, TopicName, Utf8String, Will,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMemoryView, PyString};

use crate::gate;
use crate::hooks;
use crate::profile;
use crate::properties;
use crate::rules;

/// The largest payload that paho accepts, and so the largest before the packet itself is checked.
const MAX_PAYLOAD: usize = 268_435_455;

pub(crate) fn qos(value: &Bound<'_, PyAny>) -> PyResult<QoS> {
    let number: Option<u8> = value.extract().ok();
    number.and_then(QoS::from_value).ok_or_else(|| {
        let given = match value.is_instance_of::<PyInt>() {
            true => value.str(),
            false => value.get_type().qualname(), // what it holds may be a payload
        };
        let given = given.map_or_else(|_| "that".to_owned(), |given| given.to_string());
        let text = format!("Invalid QoS level. qos must be 0, 1 or 2, not {given}.");
        PyValueError::new_err(text)
    })
}

pub(crate) fn utf8(value: &Bound<'_, PyAny>) -> PyResult<Utf8String> {
    let text: &str = value.cast::<PyString>()?.to_str()?;
    Utf8String::try_from(text).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// The text of a topic to publish to, which may be a `Topic`. `what` names the argument.
pub(crate) fn topic_text<'py>(
    what: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyString>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.clone());
    }
    if value.is_none() {
        return Err(PyValueError::new_err(format!(
            "Invalid topic. {what} must be str or Topic, not NoneType."
        )));
    }
    if value.is_instance(hooks::topic_class(value.py())?)? {
        return Ok(value.getattr(intern!(value.py(), "value"))?.cast_into()?);
    }
    let class = value.get_type().qualname()?;
    Err(PyTypeError::new_err(format!(
        "{what} must be str or Topic, not {class}"
    )))
}

/// What publishing to no topic raises.
pub(crate) const EMPTY_TOPIC: &str = "Invalid topic. topic must not be empty.";

/// The error for a text that UTF-8 cannot carry. Not Python's own, which holds the text.
pub(crate) fn surrogate(what: &str) -> PyErr {
    PyValueError::new_err(format!(
        "{what} must be valid Unicode text: it has a lone surrogate."
    ))
}

/// Checks a topic to publish to.
pub(crate) fn check_topic(text: &str) -> PyResult<()> {
    TopicName::check(text).map_err(|error| topic_error(text, &error))
}

/// Characters of a topic that an error shows.
const MOST_SHOWN: usize = 100;

/// A topic for an error, without control characters.
fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cold]
fn topic_error(text: &str, error: &ferromqtt_proto::TopicError) -> PyErr {
    use ferromqtt_proto::{StringError, TopicError};
    PyValueError::new_err(match error {
        TopicError::Empty => EMPTY_TOPIC.to_owned(),
        TopicError::WildcardInName => format!(
            "Publish topic cannot contain wildcards. topic must have neither + nor #: {}.",
            shown(text)
        ),
        TopicError::String(StringError::Nul) => format!(
            "topic {}: {}.",
            rules::text_problem(&StringError::Nul),
            shown(text)
        ),
        TopicError::String(error) => {
            format!(
                "Publish topic is too long. topic {}.",
                rules::text_problem(error)
            )
        }
        _ => error.to_string(),
    })
}

/// A payload: borrowed from `bytes` and `str`, made for the rest.
pub(crate) enum Payload<'py> {
    Bytes(Bound<'py, PyBytes>),
    Text(Bound<'py, PyString>),
    Made(Vec<u8>),
}

impl<'py> Payload<'py> {
    /// str is sent as UTF-8; int, float and bool as their `str()`; bytes and bytearray as they are; None as nothing.
    pub(crate) fn new(value: &Bound<'py, PyAny>) -> PyResult<Self> {
        let payload = if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            Self::Bytes(bytes.clone())
        } else if let Ok(bytes) = value.cast::<PyBytes>() {
            // Of a subclass, which may have a finalizer: it must not run where the core lets go of its payload.
            Self::Made(bytes.as_bytes().to_vec())
        } else if let Ok(text) = value.cast::<PyString>() {
            if text.to_str().is_err() {
                return Err(surrogate("payload"));
            }
            Self::Text(text.clone())
        } else if value.is_none() {
            Self::Made(Vec::new())
        } else if let Ok(bytes) = value.cast::<PyByteArray>() {
            Self::Made(bytes.to_vec())
        } else if value.is_instance_of::<PyMemoryView>() {
            let bytes = value.call_method0(intern!(value.py(), "tobytes"))?; // contiguous or not
            Self::Bytes(bytes.cast_into()?)
        } else if value.is_instance_of::<PyInt>()
            || value.is_instance_of::<PyFloat>()
            || value.is_instance_of::<PyBool>()
        {
            Self::Made(value.str()?.to_str()?.as_bytes().to_vec())
        } else {
            let class = value.get_type().qualname()?;
            return Err(PyTypeError::new_err(format!(
                "payload must be a string, bytearray, int, float or None. It may be bytes or a \
                 memoryview too, but not {class}: encode it first, for example by json.dumps."
            )));
        };
        let bytes = payload.as_slice().len();
        if bytes > MAX_PAYLOAD {
            return Err(PyValueError::new_err(format!(
                "Payload too large. payload must have at most {MAX_PAYLOAD} bytes, not {bytes}."
            )));
        }
        Ok(payload)
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            Self::Text(text) => text.to_str().unwrap_or_default().as_bytes(), // encoded once in `new`
            Self::Made(made) => made,
        }
    }

    /// The payload for a message that outlives the call.
    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) if bytes.as_bytes().len() >= ferromqtt_proto::LARGE_PAYLOAD => {
                Bytes::from_owner(PyBackedBytes::from(bytes))
            }
            Self::Made(made) => Bytes::from(made),
            borrowed => Bytes::copy_from_slice(borrowed.as_slice()),
        }
    }
}

/// The bytes that stand for a payload.
#[pyfunction]
pub(crate) fn payload_bytes<'py>(payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let _inside = gate::enter()?;
    Ok(match Payload::new(payload)? {
        Payload::Bytes(bytes) => bytes,
        made => PyBytes::new(payload.py(), made.as_slice()),
    })
}

/// The seconds that a call may take. Not by `from_py_with`, for which PyO3 adds a note of its own to a TypeError.
pub(crate) fn timeout(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    match value.extract() {
        Ok(seconds) if seconds >= 0.0 => Ok(seconds),
        Ok(_) => Err(below_zero(value)),
        Err(error) => Err(no_seconds(value, error)),
    }
}

#[cold]
fn below_zero(value: &Bound<'_, PyAny>) -> PyErr {
    match value.str() {
        Ok(given) => PyValueError::new_err(format!(
            "timeout must be 0 or more seconds, not {given}. Give math.inf for no limit."
        )),
        Err(error) => error,
    }
}

#[cold]
fn no_seconds(value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    match value.get_type().qualname() {
        Ok(class) if error.is_instance_of::<PyTypeError>(value.py()) => {
            PyTypeError::new_err(format!("timeout must be a number of seconds, not {class}"))
        }
        _ => error,
    }
}

/// When a call that starts now gives up; infinity is never.
pub(crate) fn deadline(now: Instant, timeout: f64) -> Option<Instant> {
    let timeout = Duration::try_from_secs_f64(timeout).ok()?; // infinity is none
    now.checked_add(timeout)
}

/// The core's options of the keyword arguments that `ferromqtt._driver` gives.
pub(crate) fn options(arguments: &Bound<'_, PyDict>) -> PyResult<Options> {
    let mut options = Options::default();
    options.connect_timeout = None; // the driver's `timeout` covers connecting as a whole
    options.outgoing = OutgoingLimits::NONE;
    options.outgoing_policy = OutgoingPolicy::Refuse; // as upstream
    options.incoming = QueueOptions::UNBOUNDED; // as upstream; the driver warns of a long queue
    for (name, value) in arguments {
        let name: String = name.extract()?;
        match name.as_str() {
            "protocol" => {
                options.protocol = match value.extract()? {
                    3_u8 => ProtocolVersion::V31,
                    4 => ProtocolVersion::V311,
                    5 => ProtocolVersion::V5,
                    _ => return Err(PyValueError::new_err("unknown protocol version")),
                }
            }
            "topic_aliases" => options.topic_aliases_out = value.extract()?,
            "fall_back" => {
                options.fall_back = value.extract()?;
                options.reduce_subscriptions = options.fall_back; // with a warning of the driver
            }
            "profile" => {
                options.profile = value
                    .extract::<Option<String>>()?
                    .map(|name| profile::named(&name))
                    .transpose()?;
            }
            "client_identifier" => options.client_identifier = utf8(&value)?,
            "clean_start" => {
                options.clean_start = match value.extract()? {
                    0_u8 => CleanStart::Never,
                    1 => CleanStart::Always,
                    _ => CleanStart::FirstOnly,
                }
            }
            "keep_alive" => options.keep_alive = value.extract()?,
            "user_name" => options.user_name = optional(&value, utf8)?,
            "password" => options.password = optional(&value, binary)?,
            "fresh_credentials" => options.fresh_credentials = value.extract()?,
            "reconnect" => options.reconnect = optional(&value, reconnect)?,
            "servers" => options.servers = value.extract()?,
            "properties" => {
                options.properties = optional_properties(&value)?;
            }
            "will" => options.will = optional(&value, will)?,
            "session_expiry_at_disconnect" => {
                options.session_expiry_at_disconnect = value.extract()?;
            }
            "max_in_flight" => options.max_in_flight = value.extract::<Option<NonZeroU16>>()?,
            "strict" => options.strict = value.extract()?,
            "maximum_non_publish_size" => options.maximum_non_publish_size = value.extract()?,
            "max_outgoing" => options.outgoing.messages = value.extract()?,
            "max_incoming" => {
                options.incoming = QueueOptions {
                    limit: value.extract()?,
                    overflow: Overflow::DropNewest,
                    ..QueueOptions::UNBOUNDED
                }
            }
            _ => return Err(PyTypeError::new_err(format!("unknown option {name:?}"))),
        }
    }
    Ok(options)
}

fn optional<'py, T>(
    value: &Bound<'py, PyAny>,
    convert: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    if value.is_none() {
        Ok(None)
    } else {
        convert(value).map(Some)
    }
}

/// Binary Data of a packet, from bytes or str.
pub(crate) fn binary(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    Ok(Payload::new(value)?.into_bytes())
}

/// (first delay, longest delay, jitter, attempts, initial); delays in seconds
fn reconnect(value: &Bound<'_, PyAny>) -> PyResult<Reconnect> {
    let (first, longest, jitter, attempts, initial) = value.extract()?;
    Ok(Reconnect {
        initial_delay: seconds(first),
        max_delay: seconds(longest),
        jitter_percent: jitter,
        attempts,
        initial,
        ..Reconnect::default()
    })
}

/// A number of seconds that is not negative, as far as a duration goes.
fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number).unwrap_or(Duration::MAX)
}

fn optional_properties(value: &Bound<'_, PyAny>) -> PyResult<ferromqtt_proto::Properties> {
    let properties = optional(value, |value| properties::from_dict(value.cast()?))?;
    Ok(properties.unwrap_or_default())
}

/// (topic, payload, qos, retain, properties)
fn will(value: &Bound<'_, PyAny>) -> PyResult<Will> {
    type Parts<'py> = (
        Bound<'py, PyAny>,
        Bound<'py, PyAny>,
        Bound<'py, PyAny>,
        bool,
        Bound<'py, PyAny>,
    );
    let (topic, payload, qos_value, retain, properties): Parts<'_> = value.extract()?;
    Ok(Will {
        topic: utf8(topic_text("will topic", &topic)?.as_any())?,
        payload: Payload::new(&payload)?.into_bytes(),
        qos: qos(&qos_value)?,
        retain,
        properties: optional_properties(&properties)?,
    })
}
