//! How the messages of a subscription are read: by the names of its templates, and by its codec.

use ferromqtt_proto::{TopicName, TopicTemplates};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert;
use crate::gate;
use crate::message::Message;
use crate::topic_template::TopicTemplate;
use crate::typed_message::TypedMessage;

/// What a subscription's messages are read with. They share it, and keep it alive.
#[pyclass(frozen, weakref, module = "ferromqtt._native")]
pub(crate) struct Decoding {
    templates: TopicTemplates,
    /// The codec's function that decodes, and what errors call the codec.
    codec: Option<(Py<PyAny>, String)>,
}

#[pymethods]
impl Decoding {
    /// `decode` is the function of a codec that takes a payload, and `codec` what errors call that; None without a codec.
    #[new]
    fn new(
        templates: Vec<Bound<'_, TopicTemplate>>,
        decode: Option<Py<PyAny>>,
        codec: String,
    ) -> Self {
        let templates = (templates.iter()).map(|template| template.get().template().clone());
        Self {
            templates: templates.collect(),
            codec: decode.map(|decode| (decode, codec)),
        }
    }

    /// The same message as one that is read in this way. `message` is empty afterwards: for one that nobody else has.
    fn apply<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, Message>,
    ) -> PyResult<Bound<'py, TypedMessage>> {
        let _inside = gate::enter()?;
        TypedMessage::of(Message::take(message), slf.clone().unbind(), slf.py())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.codec {
            Some((decode, _)) => visit.call(decode),
            None => Ok(()),
        }
    }

    // No `__clear__`: it never changes. Whatever cycle it is in runs through a message, an iterator or what the codec has,
    // which can be cleared.
}

impl Decoding {
    /// The codec's function that decodes, and what errors call the codec.
    pub(crate) fn codec(&self) -> Option<(&Py<PyAny>, &str)> {
        (self.codec.as_ref()).map(|(decode, name)| (decode, name.as_str()))
    }

    /// What the first template that matches a topic names; empty without one.
    pub(crate) fn params<'py>(&self, topic: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(topic.py());
        if self.templates.is_empty() {
            return Ok(dict);
        }
        let text = convert::topic_text("topic", topic)?;
        let text = text.to_str().map_err(|_| convert::surrogate("topic"))?;
        let Ok(topic) = TopicName::new(text) else {
            return Ok(dict); // the program has set another one
        };
        for (name, value) in self.templates.params(&topic).iter() {
            dict.set_item(name, value)?;
        }
        Ok(dict)
    }
}
