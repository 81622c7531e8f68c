//! The properties of a received message as attributes of it, each read without making the `Properties`.

use bytes::Bytes;
use ferromqtt_proto::{Properties, UserProperties, Utf8String};
use pyo3::exceptions::PyAttributeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::gate;
use crate::message::Message;

/// One of the attributes.
struct Attribute {
    name: &'static str,
    /// The attribute of `Properties`.
    property: &'static str,
    doc: &'static str,
    read: fn(&Properties) -> Found,
    /// There may be several, so it is a list, which is empty where there is none.
    repeats: bool,
}

/// An attribute of [`Message`] that is read by code.
pub(crate) trait MessageAttribute: Sync {
    fn name(&self) -> &'static str;
    fn doc(&self) -> &'static str;
    fn value<'py>(&self, message: &Bound<'py, Message>) -> PyResult<Bound<'py, PyAny>>;
}

/// What a message has received. Copied out of it, since making Python objects may run code of the user's.
#[derive(Default)]
pub(crate) enum Found {
    /// There is none, nor can there be several.
    #[default]
    Nothing,
    Number(u32),
    Text(Utf8String),
    Data(Bytes),
    Pairs(UserProperties),
    Numbers(Vec<u32>),
}

static ATTRIBUTES: [Attribute; 7] = [
    Attribute {
        name: "payload_format_indicator",
        property: "PayloadFormatIndicator",
        doc: "(5.0) 1 if the sender says that the payload is text in UTF-8, 0 if bytes, or None.",
        read: |it| {
            let flag = it.payload_format_indicator;
            flag.map_or(Found::Nothing, |flag| Found::Number(flag.into()))
        },
        repeats: false,
    },
    Attribute {
        name: "message_expiry_interval",
        property: "MessageExpiryInterval",
        doc: "(5.0) Seconds for which it was still worth delivering when the server sent it, or None.",
        read: |it| {
            it.message_expiry_interval
                .map_or(Found::Nothing, Found::Number)
        },
        repeats: false,
    },
    Attribute {
        name: "content_type",
        property: "ContentType",
        doc: "(5.0) What the sender says that the payload is, or None.",
        read: |it| text(it.content_type.as_ref()),
        repeats: false,
    },
    Attribute {
        name: "response_topic",
        property: "ResponseTopic",
        doc: "(5.0) The topic to publish a response to, or None.",
        read: |it| text(it.response_topic.as_ref()),
        repeats: false,
    },
    Attribute {
        name: "correlation_data",
        property: "CorrelationData",
        doc: "(5.0) Bytes to publish with the response, or None.",
        read: |it| {
            let data = it.correlation_data.as_ref();
            data.map_or(Found::Nothing, |data| Found::Data(data.clone()))
        },
        repeats: false,
    },
    Attribute {
        name: "user_properties",
        property: "UserProperty",
        doc: "(5.0) A list of pairs of texts, empty if there are none.",
        read: |it| Found::Pairs(it.user_properties.clone()),
        repeats: true,
    },
    Attribute {
        name: "subscription_identifiers",
        property: "SubscriptionIdentifier",
        doc: "(5.0) The identifiers of the subscriptions that it matches, a list, empty if there are none.",
        read: |it| Found::Numbers(it.subscription_identifiers.to_vec()),
        repeats: true,
    },
];

fn text(text: Option<&Utf8String>) -> Found {
    text.map_or(Found::Nothing, |text| Found::Text(text.clone()))
}

/// Lets an attribute of the same name win that a subclass sets in its instances, which a getter of PyO3's would refuse. With
/// `__set__`, since `help` takes a descriptor without it for a method.
#[pyclass(frozen, module = "ferromqtt._native")]
struct MessageProperty(&'static dyn MessageAttribute);

#[pymethods]
impl MessageProperty {
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
        _class: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter()?;
        if message.is_none() {
            return Ok(slf.clone().into_any()); // read from the class
        }
        let message = message.cast::<Message>()?;
        let Self(attribute) = slf.get();
        if let Some(fields) = own_fields(message)?
            && let Some(own) = fields.get_item(attribute.name())?
        {
            return Ok(own);
        }
        attribute.value(message)
    }

    fn __set__(&self, message: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let _inside = gate::enter()?;
        match own_fields(message.cast()?)? {
            Some(fields) => fields.set_item(self.0.name(), value),
            None => Err(self.read_only()),
        }
    }

    fn __delete__(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let _inside = gate::enter()?;
        match own_fields(message.cast()?)? {
            Some(fields) if fields.contains(self.0.name())? => fields.del_item(self.0.name()),
            _ => Err(self.read_only()),
        }
    }

    #[getter(__doc__)]
    fn doc(&self) -> &'static str {
        self.0.doc()
    }

    #[getter(__name__)]
    fn name(&self) -> &'static str {
        self.0.name()
    }
}

impl MessageProperty {
    fn read_only(&self) -> PyErr {
        PyAttributeError::new_err(format!(
            "{} of a message is what was received, and cannot be set",
            self.0.name()
        ))
    }
}

/// Where an instance of a subclass has attributes of its own.
fn own_fields<'py>(message: &Bound<'py, Message>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if message.as_any().is_exact_instance_of::<Message>() {
        return Ok(None);
    }
    let fields = message.getattr_opt(intern!(message.py(), "__dict__"))?;
    Ok(fields.and_then(|fields| fields.cast_into().ok()))
}

impl MessageAttribute for Attribute {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn value<'py>(&self, message: &Bound<'py, Message>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let _held = gate::hold(message);
        let made = match Message::read_property(message, self.read) {
            Ok(Found::Nothing) if self.repeats => return Ok(PyList::empty(py).into_any()),
            Ok(found) => return found.into_python(py),
            Err(made) => made.into_bound(py),
        };
        let given = match made.is_none() {
            true => None,
            false => made.getattr_opt(self.property)?,
        };
        match given {
            Some(values) if self.repeats => {
                let values = values.try_iter()?.collect::<PyResult<Vec<_>>>()?;
                Ok(PyList::new(py, values)?.into_any())
            }
            Some(value) => Ok(value),
            None if self.repeats => Ok(PyList::empty(py).into_any()),
            None => Ok(py.None().into_bound(py)),
        }
    }
}

impl Found {
    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        Ok(match self {
            Self::Nothing => py.None().into_bound(py),
            Self::Number(number) => number.into_pyobject(py)?.into_any(),
            Self::Text(text) => PyString::new(py, text.as_str()).into_any(),
            Self::Data(data) => PyBytes::new(py, &data).into_any(),
            Self::Numbers(numbers) => PyList::new(py, numbers)?.into_any(),
            Self::Pairs(pairs) => {
                let pairs = pairs
                    .iter()
                    .map(|(name, value)| PyTuple::new(py, [name, value]));
                PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)?.into_any()
            }
        })
    }
}

/// Gives the class its attributes.
pub(crate) fn finish_type(py: Python<'_>) -> PyResult<()> {
    ATTRIBUTES.iter().try_for_each(|it| add(py, it))
}

/// Gives the class an attribute.
pub(crate) fn add(py: Python<'_>, attribute: &'static dyn MessageAttribute) -> PyResult<()> {
    let class = py.get_type::<Message>();
    class.setattr(
        attribute.name(),
        Bound::new(py, MessageProperty(attribute))?,
    )
}
