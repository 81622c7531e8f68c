//! The core's rules for what Python checks before a call: texts, Topic Filters, and which property stands where.

use ferromqtt_proto::packet::{PropertyKind, property_table as table};
use ferromqtt_proto::{
    StringError, TopicError, TopicFilter, Utf8String, has_misplaced_wildcard, matches_by_level,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::convert;
use crate::gate;
use crate::hooks;
use crate::properties;

/// The most bytes of a string or of binary data in a packet (sections 1.5.4 and 1.5.6).
pub(crate) const MAX_BYTES: u16 = u16::MAX;

/// Checks a text that a packet is to hold. `what` begins the error; `shown` follows it where the text is to be shown.
#[pyfunction]
#[pyo3(signature = (what, text, shown = "", /))]
pub(crate) fn check_text(what: &str, text: &Bound<'_, PyString>, shown: &str) -> PyResult<()> {
    let text = text.to_str().map_err(|_| convert::surrogate(what))?;
    Utf8String::check(text).map_err(|error| {
        let shown = if error == StringError::Nul { shown } else { "" };
        PyValueError::new_err(format!("{what} {}{shown}.", text_problem(&error)))
    })
}

/// What is wrong with a text, behind the name of what it is.
pub(crate) fn text_problem(error: &StringError) -> String {
    match error {
        StringError::TooLong { bytes } => {
            format!("must have at most {MAX_BYTES} bytes of UTF-8, not {bytes}")
        }
        StringError::Nul => "must not contain U+0000".to_owned(),
        other => format!("cannot be sent: {other}"),
    }
}

/// Checks a Topic Filter, and tells whether it is of a Shared Subscription.
#[pyfunction]
pub(crate) fn check_filter(text: &Bound<'_, PyString>) -> PyResult<bool> {
    let _inside = gate::enter()?;
    let Ok(filter) = text.to_str() else {
        return Err(convert::surrogate("Invalid subscription filter. It"));
    };
    let problem = match TopicFilter::check(filter) {
        Ok(()) => return Ok(filter.starts_with("$share/")),
        Err(TopicError::Empty) => {
            let text = "Invalid subscription filter. It must not be empty.";
            return Err(PyValueError::new_err(text));
        }
        Err(TopicError::String(error)) => format!("it {}", text_problem(&error)),
        Err(TopicError::MalformedShare) => "a shared subscription is $share/name/filter".to_owned(),
        // A `+` in its place is a level like any other.
        Err(_) if has_misplaced_wildcard(filter.replace('+', "-").as_bytes()) => {
            "# must stand alone in the last level".to_owned()
        }
        Err(_) => "+ must stand alone in its level".to_owned(),
    };
    let quoted = hooks::quoted(text.py())?.call1((text,))?;
    let text = format!("Invalid subscription filter. {quoted}: {problem}.");
    Err(PyValueError::new_err(text))
}

/// Whether a wildcard of aiomqtt's matches a topic; None when it is malformed: empty, of more than 65,535 characters, or with a
/// `+` or `#` where none may stand. Unlike a server, it lets wildcards match a `$` at the front.
#[pyfunction]
pub(crate) fn wildcard_matches(
    wildcard: &Bound<'_, PyString>,
    topic: &Bound<'_, PyString>,
) -> PyResult<Option<bool>> {
    // No valid text has a lone surrogate, and which one it is does not matter.
    let (filter, topic) = (wildcard.to_string_lossy(), topic.to_string_lossy());
    if !(1..=MAX_BYTES.into()).contains(&wildcard.len()?)
        || has_misplaced_wildcard(filter.as_bytes())
    {
        return Ok(None);
    }
    let mut levels = filter.splitn(3, '/');
    let inner = match levels.next() {
        Some("$share") => levels.nth(1), // behind the name
        _ => Some(&*filter),
    };
    Ok(Some(inner.is_some_and(|inner| {
        matches_by_level(inner.as_bytes(), topic.as_bytes())
    })))
}

/// A property: its identifier, its name in words, its key in dictionaries, what its values are, from which number and to which,
/// whether it repeats, and the types of the packets that may hold it, where 0 is the will.
type PropertyTuple<'py> = (
    u8,
    String,
    &'static str,
    &'static str,
    u32,
    u32,
    bool,
    Bound<'py, PyTuple>,
);

/// All properties, in the order of their identifiers.
#[pyfunction]
pub(crate) fn property_table(py: Python<'_>) -> PyResult<Vec<PropertyTuple<'_>>> {
    let rows = table().into_iter().map(|row| {
        let (kind, minimum, maximum) = match row.kind {
            PropertyKind::Flag => ("flag", 0, 1),
            PropertyKind::Number(minimum, maximum) => ("number", minimum, maximum),
            PropertyKind::Text => ("text", 0, MAX_BYTES.into()),
            PropertyKind::Binary => ("binary", 0, MAX_BYTES.into()),
            PropertyKind::Pair => ("pair", 0, MAX_BYTES.into()),
        };
        let packets = PyTuple::new(py, row.packet_types().collect::<Vec<_>>())?;
        let name = properties::name(row.field);
        Ok((
            row.identifier,
            name,
            row.field,
            kind,
            minimum,
            maximum,
            row.repeats(),
            packets,
        ))
    });
    rows.collect()
}
