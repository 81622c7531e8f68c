//! Properties as the Python side exchanges them: a dictionary from the standard's names to plain values.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use ferromqtt_proto::packet::TopicAlias;
use ferromqtt_proto::{Properties, PropertyError, PropertyProblem, QoS, Utf8String};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::convert;

/// The text for a property that was refused, with the names that Python users know: "Property ResponseTopic cannot be ...".
pub(crate) fn refused_text(error: &PropertyError) -> String {
    let property = attribute(error.property);
    let place = match error.place {
        "the will" => " of the will",
        _ => "",
    };
    match error.problem {
        PropertyProblem::Needs(other) => {
            format!(
                "Property {property}{place} needs {} beside it",
                attribute(other)
            )
        }
        problem => format!("Property {property}{place} {problem}"),
    }
}

/// The attribute of `ferromqtt.Properties` for a field of [`Properties`].
fn attribute(field: &str) -> String {
    name(field).replace(' ', "")
}

/// The standard's name for a field of [`Properties`].
pub(crate) fn name(field: &str) -> String {
    match field {
        "user_properties" => return "User Property".to_owned(),
        "subscription_identifiers" => return "Subscription Identifier".to_owned(),
        "maximum_qos" => return "Maximum QoS".to_owned(),
        _ => {}
    }
    let words = field.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A value that one property holds.
trait Value: Sized {
    fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self>;
    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>>;
}

macro_rules! fields {
    ($apply:ident) => {
        $apply! {
            payload_format_indicator, message_expiry_interval, content_type, response_topic, correlation_data,
            session_expiry_interval, assigned_client_identifier, server_keep_alive, authentication_method,
            authentication_data, request_problem_information, will_delay_interval, request_response_information,
            response_information, server_reference, reason_string, receive_maximum, topic_alias_maximum, topic_alias,
            maximum_qos, retain_available, maximum_packet_size, wildcard_subscription_available,
            subscription_identifier_available, shared_subscription_available
        }
    };
}

/// Reads a dictionary.
pub(crate) fn from_dict(dict: &Bound<'_, PyDict>) -> PyResult<Properties> {
    let mut properties = Properties::default();
    for (name, value) in dict {
        let name: String = name.extract()?;
        macro_rules! read {
            ($($field:ident),+) => {
                match name.as_str() {
                    $(stringify!($field) => properties.$field = Some(Value::from_python(&value)?),)+
                    "subscription_identifiers" => properties.subscription_identifiers = value.extract::<Vec<u32>>()?.into(),
                    "user_properties" => {
                        for pair in value.try_iter()? {
                            let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) = pair?.extract()?;
                            let name = name.cast::<PyString>()?.to_str()?;
                            let value = value.cast::<PyString>()?.to_str()?;
                            (properties.user_properties.try_push(name, value))
                                .map_err(|error| PyValueError::new_err(error.to_string()))?;
                        }
                    }
                    _ => return Err(PyValueError::new_err(format!("unknown property {name:?}"))),
                }
            };
        }
        fields!(read);
    }
    Ok(properties)
}

/// Writes a dictionary of the properties that are there.
pub(crate) fn to_dict<'py>(
    py: Python<'py>,
    properties: Option<&Properties>,
) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    let Some(properties) = properties else {
        return Ok(dict);
    };
    macro_rules! write {
        ($($field:ident),+) => {
            $(if let Some(value) = &properties.$field {
                dict.set_item(stringify!($field), value.to_python(py)?)?;
            })+
        };
    }
    fields!(write);
    if !properties.subscription_identifiers.is_empty() {
        dict.set_item(
            "subscription_identifiers",
            properties.subscription_identifiers.to_vec(),
        )?;
    }
    if !properties.user_properties.is_empty() {
        let pairs: Vec<(&str, &str)> = properties.user_properties.iter().collect();
        dict.set_item("user_properties", pairs)?;
    }
    Ok(dict)
}

macro_rules! plain {
    ($($type:ty),+) => {
        $(impl Value for $type {
            fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self> {
                value.extract()
            }

            fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                Ok(self.into_pyobject(py)?.to_owned().into_any())
            }
        })+
    };
}

plain!(bool, u16, u32, NonZeroU16, NonZeroU32);

impl Value for TopicAlias {
    fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        value.extract().map(Self)
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.to_python(py)
    }
}

impl Value for QoS {
    fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        convert::qos(value)
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.value().into_pyobject(py)?.into_any())
    }
}

impl Value for Utf8String {
    fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        convert::utf8(value)
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.as_str().into_pyobject(py)?.into_any())
    }
}

impl Value for Bytes {
    fn from_python(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        let value: Vec<u8> = value.extract()?;
        Ok(Self::from(value))
    }

    fn to_python<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyBytes::new(py, self).into_any())
    }
}
