//! Filters whose wildcards have names, of the core.

use ferromqtt_proto::{self as proto, TopicName};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyString, PyTuple, PyType};

use crate::convert;
use crate::gate;

// Python's form of `ferromqtt_proto::TopicTemplate`.
/// A filter whose wildcards have names: `room/{room}/temp`.
///
/// `{name}` stands for one level, and `{name#}`, in the last place, for all levels that are left, of
/// which there may be none. `+` and `#` are wildcards without a name. A brace that is meant is
/// doubled: `{{` and `}}`. Two templates are equal when their texts are.
///
/// ```python
/// template = TopicTemplate("room/{room}/temp")
/// async with Client("test.mosquitto.org") as client:
///     await client.subscribe(template.filter)  # room/+/temp
///     async for message in client.messages:
///         if params := template.params(message.topic):
///             print(params["room"], message.payload)
/// ```
///
/// Args:
///     value: The template as text.
///
/// Raises:
///     TypeError: The value is not a string.
///     ValueError: It is no template, or the filter that it stands for is none.
#[pyclass(module = "ferromqtt", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct TopicTemplate(proto::TopicTemplate);

impl TopicTemplate {
    /// The core's form of it.
    pub(crate) const fn template(&self) -> &proto::TopicTemplate {
        &self.0
    }
}

#[pymethods]
impl TopicTemplate {
    #[new]
    fn new(value: &str) -> PyResult<Self> {
        let _inside = gate::enter()?;
        match proto::TopicTemplate::new(value) {
            Ok(template) => Ok(Self(template)),
            Err(error) => Err(PyValueError::new_err(format!("Invalid {error}."))),
        }
    }

    /// The template as text.
    #[getter]
    fn value(&self) -> &str {
        self.0.as_str()
    }

    /// The filter to subscribe to, with `+` and `#` in place of the names.
    #[getter]
    fn filter(&self) -> &str {
        self.0.filter()
    }

    /// The names, in their order.
    #[getter]
    fn names<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.names().collect::<Vec<_>>())
    }

    /// Return what the named levels of a topic are, by their names.
    ///
    /// None when the filter does not match the topic. A wildcard at the front does not match a topic
    /// that begins with `$`.
    ///
    /// Raises:
    ///     TypeError: `topic` is neither a string nor a `Topic`.
    ///     ValueError: It is no topic to publish to.
    fn params<'py>(&self, topic: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let _inside = gate::enter()?;
        let text = convert::topic_text("topic", topic)?;
        let text = text.to_str().map_err(|_| convert::surrogate("topic"))?;
        let topic_name = TopicName::new(text)
            .map_err(|error| PyValueError::new_err(format!("Invalid topic: {error}.")))?;
        let Some(params) = self.0.params(&topic_name) else {
            return Ok(None);
        };
        let dict = PyDict::new(topic.py());
        for (name, value) in params.iter() {
            dict.set_item(name, value)?;
        }
        Ok(Some(dict))
    }

    /// Return the topic with these values in place of the names, to publish to.
    ///
    /// A `{name#}` whose value is empty, or that has none, is left out with the `/` before it.
    ///
    /// Raises:
    ///     TypeError: A value is neither a string nor an int.
    ///     ValueError: A name has no value or is not in the template, a value is not one level, or a
    ///         wildcard has no name.
    #[pyo3(signature = (**values))]
    fn topic(&self, values: Option<&Bound<'_, PyDict>>) -> PyResult<String> {
        let _inside = gate::enter()?;
        let values = match values {
            Some(values) => (values.iter())
                .map(|(name, value)| level(&name, &value))
                .collect::<PyResult<Vec<_>>>()?,
            None => Vec::new(),
        };
        let values: Vec<_> = (values.iter())
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match self.0.topic(&values) {
            Ok(topic) => Ok(topic.into()),
            Err(error) => Err(PyValueError::new_err(format!("Cannot fill in {error}."))),
        }
    }

    fn __str__(&self) -> &str {
        self.0.as_str()
    }

    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<String> {
        let value = slf.getattr("value")?;
        Ok(format!("TopicTemplate({})", value.repr()?))
    }

    // For `copy` and `pickle`.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> (Bound<'py, PyType>, (String,)) {
        (slf.get_type(), (slf.get().0.as_str().to_owned(),))
    }
}

/// A value for a name of a template: what stands in the topic for it.
fn level(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<(String, String)> {
    let name: String = name.extract()?;
    let is_number = value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>();
    if is_number || value.is_instance_of::<PyString>() {
        return Ok((name, value.str()?.extract()?));
    }
    let given = value.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "{name} must be str or int, not {given}"
    )))
}
