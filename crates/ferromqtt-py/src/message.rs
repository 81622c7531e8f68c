//! A received message as a Python object.

mod chain;

pub(crate) use chain::drop_in_turn;

use std::ffi::CStr;
use std::mem::offset_of;

use bytes::Bytes;
use ferromqtt_proto::{self as proto, Properties};
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::access::Access;
use crate::acknowledge::{self, Acknowledgement, Origin};
use crate::core::Core;
use crate::gate;
use crate::hooks;
use crate::properties;

/// `PacketTypes.PUBLISH`.
const PUBLISH: u8 = 3;

// Python's form of `ferromqtt_proto::Message`.
/// A message that was received.
///
/// Two messages are equal when they are the same object; `<` compares their `mid`.
///
/// Attributes:
///     topic: The `Topic` it was published to.
///     payload: The payload, as bytes.
///     qos: The QoS it was delivered at: 0, 1 or 2.
///     retain: Whether the server had kept it before the client subscribed.
///     mid: The Packet Identifier; 0 at QoS 0.
///     properties: (5.0) The `Properties`; None before 5.0.
///     dup: Whether the DUP flag was set: the server has sent it before, on this connection or an
///         earlier one.
///     payload_format_indicator: (5.0) 1 if the sender says that the payload is text in UTF-8, 0 if bytes, or None. This and
///         the following are properties as plain attributes, read without making `properties`: docs/mqtt5.md.
///     message_expiry_interval: (5.0) Seconds for which it was still worth delivering when the server sent it, or None.
///     content_type: (5.0) What the sender says that the payload is, or None.
///     response_topic: (5.0) The topic to publish a response to, or None.
///     correlation_data: (5.0) Bytes to publish with the response, or None.
///     user_properties: (5.0) A list of pairs of texts, empty if there are none.
///     subscription_identifiers: (5.0) The identifiers of the subscriptions that it matches, a list, empty if there are none.
// Without a `__dict__`: to make one, CPython 3.11 may collect garbage while PyO3 has not filled the object yet.
// Without a free list: PyO3 would put instances of subclasses into it, whose memory is laid out in another way.
#[pyclass(subclass, weakref, module = "ferromqtt")]
pub(crate) struct Message {
    // Members of the Python class, which CPython reads, sets and deletes by itself: see `finish_type`.
    topic: Field,
    payload: Field,
    qos: Field,
    retain: Field,
    mid: Field,
    properties: Lazy,
    /// `None`: it is from a client, and was not left to the program to acknowledge.
    pub(crate) origin: Option<Box<Origin>>,
    dup: bool,
}

/// A member: None where it was deleted.
type Field = Option<Py<PyAny>>;

/// The properties, which become a Python object when somebody asks.
enum Lazy {
    Received(Option<Box<Properties>>),
    Made(Py<PyAny>),
}

/// What `__reduce__` returns: how to make an empty message of which class, the fields, and what was added to them.
pub(crate) type Reduced<'py> = (
    Bound<'py, PyAny>,
    Bound<'py, PyTuple>,
    ([Py<PyAny>; 6], Bound<'py, PyAny>, bool),
);

impl Message {
    /// Makes what a Python object has of a message that `core` has received. Until the program has acknowledged it, if that is left
    /// to it, it keeps the core alive; otherwise nothing but itself. Its payload is the one copy that is made of it.
    pub(crate) fn create<'py>(
        core: &Bound<'py, Core>,
        topic: Bound<'py, PyAny>,
        message: proto::Message,
        v5: bool,
    ) -> PyResult<Self> {
        let py = core.py();
        let mut properties = message.properties;
        if let Some(properties) = &mut properties {
            properties.detach(); // a message that is kept must not keep alive all that was read with it
        }
        let mid = message.packet_id.map_or(0, |id| id.get());
        let payload = PyBytes::new(py, &message.payload);
        let qos = message.qos.value().into_pyobject(py)?;
        let retain = message.retain.into_pyobject(py)?.to_owned();
        let mid = mid.into_pyobject(py)?;
        Ok(Self {
            topic: Some(topic.unbind()),
            payload: Some(payload.into_any().unbind()),
            qos: Some(qos.into_any().unbind()),
            retain: Some(retain.into_any().unbind()),
            mid: Some(mid.into_any().unbind()),
            properties: if v5 || properties.is_some() {
                Lazy::Received(properties)
            } else {
                Lazy::Made(py.None())
            },
            origin: (message.delivery).map(|delivery| Origin::unacknowledged(core, delivery)),
            dup: message.dup,
        })
    }

    /// One that `__init__` or `__setstate__` fills.
    pub(crate) fn empty(py: Python<'_>) -> Self {
        let none = || Some(py.None());
        Self {
            topic: none(),
            payload: none(),
            qos: none(),
            retain: none(),
            mid: none(),
            properties: Lazy::Made(py.None()),
            origin: Origin::made(),
            dup: false,
        }
    }

    /// What the object has, which is empty afterwards.
    pub(crate) fn take(slf: &Bound<'_, Self>) -> Self {
        let empty = Self::empty(slf.py());
        std::mem::replace(&mut *slf.lock(), empty)
    }

    /// Its QoS, as the program may have set it.
    pub(crate) fn qos(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::member(slf.py(), &slf.read().qos, "qos")
    }

    /// The properties, which are made when they are asked for first. They are copied, since making Python objects may run
    /// code of the user's, and the message must not be borrowed then.
    fn made_properties(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let received = match &slf.read().properties {
            Lazy::Made(made) => return Ok(made.clone_ref(py)),
            Lazy::Received(received) => received.clone(),
        };
        let dict = properties::to_dict(py, received.as_deref())?;
        let made = hooks::from_native(py)?.call1((dict, PUBLISH))?.unbind();
        let mut this = slf.lock();
        if let Lazy::Made(other) = &this.properties {
            return Ok(other.clone_ref(py)); // made by code that ran meanwhile
        }
        this.properties = Lazy::Made(made.clone_ref(py));
        Ok(made)
    }

    /// What `read` finds in the properties, while they are as they were received; else the object that was made of them.
    pub(crate) fn read_property<T: Default>(
        slf: &Bound<'_, Self>,
        read: impl Fn(&Properties) -> T,
    ) -> Result<T, Py<PyAny>> {
        match &slf.read().properties {
            Lazy::Made(made) => Err(made.clone_ref(slf.py())),
            Lazy::Received(received) => Ok(received.as_deref().map(read).unwrap_or_default()),
        }
    }

    /// Everything of Python's, for the caller to drop.
    fn take_fields(&mut self, py: Python<'_>) -> impl Sized + use<> {
        let fields = [
            &mut self.topic,
            &mut self.payload,
            &mut self.qos,
            &mut self.retain,
            &mut self.mid,
        ]
        .map(|field| field.replace(py.None()));
        let properties = std::mem::replace(&mut self.properties, Lazy::Made(py.None()));
        (fields, properties, self.origin.take())
    }

    fn fill(slf: &Bound<'_, Self>, fields: [Py<PyAny>; 6]) {
        let [topic, payload, qos, retain, mid, properties] = fields;
        let mut this = slf.lock();
        let members = [
            exchange(&mut this.topic, topic),
            exchange(&mut this.payload, payload),
            exchange(&mut this.qos, qos),
            exchange(&mut this.retain, retain),
            exchange(&mut this.mid, mid),
        ];
        let properties = std::mem::replace(&mut this.properties, Lazy::Made(properties));
        let origin = std::mem::replace(&mut this.origin, Origin::made());
        this.dup = false;
        drop(this);
        drop((members, properties, origin)); // with the message released, since that may run code of the user's
    }

    /// A member that is there, as reading the attribute would find it.
    fn member(py: Python<'_>, field: &Field, name: &'static str) -> PyResult<Py<PyAny>> {
        match field {
            Some(field) => Ok(field.clone_ref(py)),
            None => Err(PyAttributeError::new_err(name)),
        }
    }
}

#[pymethods]
impl Message {
    // Empty: `__init__` fills it, so that a subclass may have a constructor of its own.
    #[new]
    #[pyo3(
        signature = (*_args, **_kwargs),
        text_signature = "(topic, payload, qos, retain, mid, properties)"
    )]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::empty(_args.py())
    }

    #[pyo3(signature = (topic, payload, qos, retain, mid, properties))]
    fn __init__(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyAny>,
        payload: Py<PyAny>,
        qos: Py<PyAny>,
        retain: Py<PyAny>,
        mid: Py<PyAny>,
        properties: Py<PyAny>,
    ) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        let class = hooks::topic_class(topic.py())?;
        let topic = if topic.is_instance(class)? {
            topic.clone()
        } else {
            class.call1((topic,))?
        };
        Self::fill(slf, [topic.unbind(), payload, qos, retain, mid, properties]);
        Ok(())
    }

    /// (5.0) The `Properties`; None before 5.0.
    #[getter]
    fn properties(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let _inside = gate::enter_on(slf)?;
        Self::made_properties(slf)
    }

    #[setter]
    fn set_properties(slf: &Bound<'_, Self>, properties: Py<PyAny>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        let previous = std::mem::replace(&mut slf.lock().properties, Lazy::Made(properties));
        drop(previous); // with the message released, since that may run code of the user's
        Ok(())
    }

    /// Acknowledges the message, of a client that leaves this to the program (`manual_ack`, or `ack="manual"` of a
    /// subscription). Acknowledges at the call: whether the result is awaited makes no difference.
    ///
    /// PUBACK or PUBREC leaves once those of all messages that came before it have (MQTT-4.6.0-2, MQTT-4.6.0-3). Does
    /// nothing at QoS 0, for a message that is acknowledged or rejected already, and once the connection has ended that
    /// the message was taken on: the server sends it again then, and the new copy is to be acknowledged.
    ///
    /// Raises:
    ///     RuntimeError: The client acknowledges this message by itself; or the message is none that a client has handed
    ///         out, but was made, copied or unpickled; or the call is made outside the event loop of the client.
    fn ack<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Acknowledgement>> {
        let _inside = gate::enter_on(slf)?;
        acknowledge::ack(slf)
    }

    /// (5.0) Refuses the message: acknowledges it with a Reason Code of 128 or above. The server does not send it again, and
    /// its publisher does not learn of it. Does nothing where `ack` does nothing.
    ///
    /// Args:
    ///     reason_code: One that PUBACK and PUBREC have for failures: 128 (Unspecified error, the default), 131
    ///         (Implementation specific error), 135 (Not authorized), 144 (Topic Name invalid), 145 (Packet Identifier in
    ///         use), 151 (Quota exceeded) or 153 (Payload format invalid), as a number or a `ReasonCode`.
    ///     reason_string: The Reason String, for people. Left out where it would exceed the server's Maximum Packet Size.
    ///
    /// Raises:
    ///     ValueError: The Reason Code or the text is none that can be sent. Nothing was sent.
    ///     TypeError: An argument has the wrong type. Nothing was sent.
    ///     RuntimeError: As for `ack`; or the protocol is older than 5.0. Nothing was sent.
    #[pyo3(signature = (reason_code = None, *, reason_string = None), text_signature = "($self, reason_code=128, *, reason_string=None)")]
    fn reject<'py>(
        slf: &Bound<'py, Self>,
        reason_code: Option<&Bound<'py, PyAny>>,
        reason_string: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Acknowledgement>> {
        let _inside = gate::enter_on(slf)?;
        acknowledge::reject(slf, reason_code, reason_string)
    }

    /// Whether the DUP flag was set: the server has sent it before, on this connection or an earlier one (section 3.3.1.1). A
    /// message of QoS 1 without it may still be a copy, and one with it may be the first that arrived.
    #[getter]
    fn dup(slf: &Bound<'_, Self>) -> bool {
        let _held = gate::hold(slf);
        slf.read().dup
    }

    #[setter]
    fn set_dup(slf: &Bound<'_, Self>, dup: bool) {
        let _held = gate::hold(slf);
        slf.lock().dup = dup;
    }

    // For `copy` and `pickle`: an empty message of the same class, to be filled by `__setstate__`.
    pub(crate) fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let _inside = gate::enter_on(slf)?;
        let py = slf.py();
        let properties = Self::made_properties(slf)?;
        let this = slf.read();
        let fields = [
            Self::member(py, &this.topic, "topic")?,
            Self::member(py, &this.payload, "payload")?,
            Self::member(py, &this.qos, "qos")?,
            Self::member(py, &this.retain, "retain")?,
            Self::member(py, &this.mid, "mid")?,
            properties,
        ];
        let dup = this.dup;
        drop(this);
        let object = py.get_type::<PyAny>();
        let added = object.call_method1(intern!(py, "__getstate__"), (slf,))?;
        let class = PyTuple::new(py, [slf.get_type()])?;
        Ok((hooks::new_object(py)?.clone(), class, (fields, added, dup)))
    }

    // The fields, what was added to them (None, attributes, or a pair of attributes and slots), and DUP, which earlier versions
    // left out.
    pub(crate) fn __setstate__(slf: &Bound<'_, Self>, state: &Bound<'_, PyTuple>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        let fields = state.get_item(0)?.extract()?;
        let added = state.get_item(1)?;
        let dup = state.get_item(2).and_then(|dup| dup.is_truthy());
        let py = slf.py();
        let object = py.get_type::<PyAny>();
        Self::fill(slf, fields);
        slf.lock().dup = dup.unwrap_or(false);
        let parts = match added.cast::<PyTuple>() {
            Ok(pair) => pair.iter().collect(),
            Err(_) => vec![added],
        };
        for part in parts {
            if part.is_none() {
                continue;
            }
            for item in part.cast::<PyDict>()?.items() {
                // Not by the class's own way to set attributes, which a frozen dataclass refuses.
                let (name, value): (Bound<'_, PyString>, Bound<'_, PyAny>) = item.extract()?;
                object.call_method1(intern!(py, "__setattr__"), (slf, name, value))?;
            }
        }
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        for field in [
            &self.topic,
            &self.payload,
            &self.qos,
            &self.retain,
            &self.mid,
        ] {
            visit.call(field)?;
        }
        if let Lazy::Made(properties) = &self.properties {
            visit.call(properties)?;
        }
        visit.call(self.origin.as_deref().and_then(Origin::core))
    }

    /// What is taken out is dropped once the message is released, since that may run Python code that uses the message.
    fn __clear__(slf: &Bound<'_, Self>) {
        let held = slf
            .try_borrow_mut()
            .map(|mut this| this.take_fields(slf.py()));
        gate::release(held);
    }

    /// For people: the topic, the first 32 bytes of the payload and its length, the QoS.
    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        hooks::shown_message(slf.py())?.call1((slf,))
    }

    /// By identity, as equality is.
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        slf.as_ptr() as isize >> 4
    }

    fn __lt__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let _inside = gate::enter_on(slf)?;
        let py = other.py();
        let mid = Self::member(py, &slf.read().mid, "mid")?;
        let other = other.cast::<Self>().map_err(|_| {
            PyTypeError::new_err("A Message can be ordered against another Message only.")
        })?;
        let held = gate::hold(other);
        let other = Self::member(py, &other.read().mid, "mid")?;
        drop(held);
        mid.bind(py).lt(other)
    }
}

/// Sets a member, and returns what it was. Without the GIL the interpreter reads members without a lock, as it reads those of
/// classes in Python; it sets them, as this is to be called, with the message [held](gate::hold).
#[cfg(Py_GIL_DISABLED)]
fn exchange(member: &mut Field, new: Py<PyAny>) -> Field {
    let place: *mut *mut ffi::PyObject = std::ptr::from_mut(member).cast();
    #[allow(unsafe_code, reason = "the interpreter reads it meanwhile")]
    // SAFETY: a `Field` is a pointer to an object that is owned, or null (see `finish_type`), and is aligned as one. It is reached
    // by atomic operations alone while it is not borrowed, and the borrow is the caller's. The former reference is taken over.
    unsafe {
        let place = std::sync::atomic::AtomicPtr::from_ptr(place);
        let former = place.swap(new.into_ptr(), std::sync::atomic::Ordering::AcqRel);
        Python::attach(|py| Bound::from_owned_ptr_or_opt(py, former).map(Bound::unbind))
    }
}

#[cfg(not(Py_GIL_DISABLED))]
const fn exchange(member: &mut Field, new: Py<PyAny>) -> Field {
    member.replace(new)
}

/// The members of the class: name, place in [`Message`], documentation.
const MEMBERS: [(&CStr, usize, &CStr); 5] = [
    (
        c"topic",
        offset_of!(Message, topic),
        c"The `Topic` it was published to.",
    ),
    (
        c"payload",
        offset_of!(Message, payload),
        c"The payload, as bytes.",
    ),
    (
        c"qos",
        offset_of!(Message, qos),
        c"The QoS it was delivered at: 0, 1 or 2.",
    ),
    (
        c"retain",
        offset_of!(Message, retain),
        c"Whether the server had kept it before the client subscribed.",
    ),
    (
        c"mid",
        offset_of!(Message, mid),
        c"The Packet Identifier; 0 at QoS 0.",
    ),
];

/// Gives [`Message`] its members. CPython reads one in a tenth of the time that a getter of PyO3's takes, and sets it as it
/// sets `__slots__`: the new value first, then the former one is released.
pub(crate) fn finish_type(py: Python<'_>) -> PyResult<()> {
    let class = py.get_type::<Message>();
    let sample = Bound::new(py, Message::empty(py))?;
    let value: *const Message = &raw const *sample.read();
    let start = value.addr() - sample.as_ptr().addr();
    for (name, place, doc) in MEMBERS {
        // For as long as the class, which never ends.
        let member = Box::leak(Box::new(ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: (start + place).cast_signed(),
            flags: 0,
            doc: doc.as_ptr(),
        }));
        #[allow(unsafe_code, reason = "PyO3 makes members for frozen classes alone")]
        // SAFETY: the definition and its texts live forever. `offset` is where each instance of the class, and of each class
        // that is derived from it, has an `Option<Py<PyAny>>`: its value is at the same distance in all of them. Such a field is
        // what a member of this type is, a pointer to an object that is owned, or null. It lies in PyO3's `UnsafeCell`, and the
        // interpreter changes it in Python code alone, which never runs while a message is borrowed; without the GIL, in a
        // critical section of the message, in which it is borrowed here (`gate::hold`).
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMember(class.as_type_ptr(), member);
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        class.setattr(PyString::new(py, &name.to_string_lossy()), descriptor)?;
    }
    Ok(())
}

/// Whether nobody else holds the object. To be asked with the GIL held: without one, the count says nothing of what other
/// threads do.
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) fn is_last<T>(object: &Py<T>) -> bool {
    #[allow(unsafe_code, reason = "PyO3 has no safe name for it any more")]
    // SAFETY: a `Py` points to a live object, and this is called with the GIL held, so the count does not change meanwhile.
    let count = unsafe { ffi::Py_REFCNT(object.as_ptr()) };
    count == 1
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
    pub(crate) fn insert(&mut self, name: &[u8], topic: Py<PyAny>) -> impl Sized + use<> {
        let forgotten = (self.known.len() >= REMEMBERED).then(|| std::mem::take(self));
        // Another one for the same name, if making this one has run code that took a message.
        let replaced = self.known.insert(Bytes::copy_from_slice(name), topic);
        let last = replaced.as_ref().and_then(|_| self.last.take());
        (forgotten, replaced, last)
    }
}

/// A new `Topic` object.
pub(crate) fn make_topic<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    hooks::trusted_topic(py)?.call1((PyString::new(py, name),))
}
