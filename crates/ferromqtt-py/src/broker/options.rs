//! The test broker's options, from the keyword arguments of `ferromqtt.testing.TestBroker`: the names are those of
//! [`BrokerOptions`]. No error shows a Password or an answer.

use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::{ProtocolVersion, QoS, ReasonCode, TopicFilter, Utf8String};
use ferromqtt_testing::{Authentication, BrokerOptions, BrokerOptionsError, User};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyMapping, PyString};

pub(super) fn read(arguments: Option<&Bound<'_, PyDict>>) -> PyResult<BrokerOptions> {
    let mut options = BrokerOptions::default();
    for (name, value) in arguments.into_iter().flatten() {
        let name: String = name.extract()?;
        set(&mut options, &name, &value)?;
    }
    Ok(options)
}

/// The type of an option in Python, and how it is read from there.
trait BrokerOptionValue: Sized {
    /// Its annotation in `ferromqtt.testing.BrokerOptions`.
    const ANNOTATION: &str;

    fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self>;

    /// It in words, as a default; `None` when there is nothing to say.
    fn shown(&self) -> Option<String>;
}

/// Implements [`BrokerOptionValue`] for types that are read by a function each.
macro_rules! option_values {
    ($($type:ty: $annotation:literal = $read:expr, $shown:expr;)+) => {$(
        impl BrokerOptionValue for $type {
            const ANNOTATION: &str = $annotation;

            fn read(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
                $read(name, value)
            }

            fn shown(&self) -> Option<String> {
                $shown(self)
            }
        }
    )+};
}

option_values! {
    NonZeroU16: "int" = nonzero_u16, in_words;
    NonZeroU32: "int" = nonzero_u32, in_words;
    u16: "int" = any_u16, in_words;
    u32: "int" = any_u32, in_words;
    usize: "int" = count, in_words;
    QoS: "int" = qos, |qos: &Self| in_words(&(*qos as u8));
    bool: "bool" = flag, |flag: &Self| Some(if *flag { "yes" } else { "no" }.to_owned());
    Duration: "float" = seconds, |time: &Self| in_words(&time.as_secs_f64());
    Option<u16>: "int | None" = |name, value| optional(name, value, any_u16), nothing;
    Option<usize>: "int | None" = |name, value| optional(name, value, count), nothing;
    Option<Utf8String>: "str | None" = |name, value| optional(name, value, text), nothing;
    Vec<User>: "Mapping[str, str | bytes]" = users, nothing;
    Vec<ProtocolVersion>: "Sequence[int]" = versions, nothing;
    Option<Authentication>: "tuple[str, Sequence[tuple[bytes, bytes]]] | None" =
        |name, value| optional(name, value, authentication), nothing;
}

fn in_words(value: &impl ToString) -> Option<String> {
    Some(value.to_string())
}

const fn nothing<T>(_: &T) -> Option<String> {
    None
}

/// What is read by hand, since it is no field of the broker's options.
const DENIALS: [&str; 3] = ["deny_connect", "deny_publish", "deny_subscribe"];

fn set(options: &mut BrokerOptions, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match name {
        "deny_connect" => {
            for (identifier, reason) in denials(name, value)? {
                checked(name, options.deny_connect(identifier, reason))?;
            }
        }
        "deny_publish" => {
            for (text, reason) in denials(name, value)? {
                checked(name, options.deny_publish(filter(name, text)?, reason))?;
            }
        }
        "deny_subscribe" => {
            for (text, reason) in denials(name, value)? {
                checked(name, options.deny_subscribe(filter(name, text)?, reason))?;
            }
        }
        _ => return set_field(options, name, value),
    }
    Ok(())
}

/// Of an option: its name, annotation and default, and unit and help of its argument on the command line.
pub(super) type OptionRow = (
    &'static str,
    &'static str,
    Option<String>,
    Option<&'static str>,
    Option<&'static str>,
);

/// Makes of the rows of the broker's table what sets a field by its name, and the rows for Python.
macro_rules! fields {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $default:expr $(, $unit:literal, $help:literal)?;)+) => {
        fn set_field(options: &mut BrokerOptions, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
            match name {
                $(stringify!($name) => options.$name = BrokerOptionValue::read(name, value)?,)+
                _ => {
                    return Err(PyTypeError::new_err(format!(
                        "The test broker has no option {name:?}: ferromqtt.testing.BrokerOptions lists them"
                    )));
                }
            }
            Ok(())
        }

        /// All options.
        pub(super) fn rows() -> Vec<OptionRow> {
            let options = BrokerOptions::default();
            let fields = [$((
                stringify!($name),
                <$type as BrokerOptionValue>::ANNOTATION,
                options.$name.shown(),
                first([$($unit)?]),
                first([$($help)?]),
            )),+];
            let denials = DENIALS.map(|name| (name, "Denials", None, None, None));
            fields.into_iter().chain(denials).collect()
        }
    };
}

ferromqtt_testing::broker_options!(fields);

/// What stands at the end of a row, if anything does.
fn first<const N: usize>(part: [&'static str; N]) -> Option<&'static str> {
    part.first().copied()
}

/// A Reason Code by its number.
pub(super) fn reason_code(name: &str, value: &Bound<'_, PyAny>) -> PyResult<ReasonCode> {
    let number = whole(name, value, 0, 0xFF)? as u8;
    ReasonCode::from_value(number).ok_or_else(|| {
        let problem = format!("{name}: 0x{number:02X} is no Reason Code of MQTT 5.0");
        PyValueError::new_err(problem)
    })
}

/// Versions of MQTT by their numbers.
fn versions(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<ProtocolVersion>> {
    let each = format!("each of {name}");
    let version = |value: Bound<'_, PyAny>| {
        Ok(match whole(&each, &value, 3, 5)? {
            3 => ProtocolVersion::V31,
            4 => ProtocolVersion::V311,
            _ => ProtocolVersion::V5,
        })
    };
    value.try_iter()?.map(|value| version(value?)).collect()
}

pub(super) fn wrong_type(name: &str, wanted: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().qualname() {
        Ok(given) => PyTypeError::new_err(format!("{name} must be {wanted}, not {given}")),
        Err(error) => error,
    }
}

/// A whole number from `least` to `most`.
fn whole(name: &str, value: &Bound<'_, PyAny>, least: u64, most: u64) -> PyResult<u64> {
    if !value.is_instance_of::<PyInt>() || value.is_instance_of::<PyBool>() {
        return Err(wrong_type(name, "int", value));
    }
    match value.extract::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(PyValueError::new_err(format!(
            "{name} must be in the range {least}-{most}, not {value}"
        ))),
    }
}

pub(super) fn nonzero_u16(name: &str, value: &Bound<'_, PyAny>) -> PyResult<NonZeroU16> {
    let number = whole(name, value, 1, u16::MAX.into())? as u16;
    Ok(NonZeroU16::MIN.saturating_add(number - 1))
}

fn nonzero_u32(name: &str, value: &Bound<'_, PyAny>) -> PyResult<NonZeroU32> {
    let number = whole(name, value, 1, u32::MAX.into())? as u32;
    Ok(NonZeroU32::MIN.saturating_add(number - 1))
}

fn any_u32(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u32> {
    Ok(whole(name, value, 0, u32::MAX.into())? as u32)
}

pub(super) fn qos(name: &str, value: &Bound<'_, PyAny>) -> PyResult<QoS> {
    let qos = whole(name, value, 0, 2)? as u8;
    Ok(QoS::from_value(qos).unwrap_or_default())
}

fn any_u16(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u16> {
    Ok(whole(name, value, 0, u16::MAX.into())? as u16)
}

/// The largest number or number of bytes: it fits on every platform.
const LARGEST_COUNT: u64 = if usize::BITS > 32 {
    1 << 48
} else {
    u32::MAX as u64
};

fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(whole(name, value, 0, LARGEST_COUNT)? as usize)
}

pub(super) fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.extract().map_err(|_| wrong_type(name, "bool", value))
}

fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let number = value.is_instance_of::<PyInt>() || value.is_instance_of::<PyFloat>();
    if !number || value.is_instance_of::<PyBool>() {
        return Err(wrong_type(name, "a number of seconds", value));
    }
    const LONGEST: f64 = 1e9; // 31 years
    match value.extract::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= LONGEST => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(PyValueError::new_err(format!(
            "{name} must be more than 0 and at most {LONGEST:e} seconds, not {value}"
        ))),
    }
}

pub(super) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Utf8String> {
    let text = value.cast::<PyString>();
    let text = unicode(name, text.map_err(|_| wrong_type(name, "str", value))?)?;
    Utf8String::try_from(text).map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

fn unicode<'a>(name: &str, text: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text.to_str().map_err(|_| {
        let problem = "a str holds a lone surrogate, which UTF-8 cannot carry";
        PyValueError::new_err(format!("{name}: {problem}"))
    })
}

fn filter(name: &str, text: String) -> PyResult<TopicFilter> {
    TopicFilter::new(text.as_str())
        .map_err(|error| PyValueError::new_err(format!("{name}: {text:?}: {error}")))
}

pub(super) fn optional<'py, T>(
    name: &str,
    value: &Bound<'py, PyAny>,
    convert: impl FnOnce(&str, &Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    if value.is_none() {
        return Ok(None);
    }
    convert(name, value).map(Some)
}

fn checked(name: &str, result: Result<(), BrokerOptionsError>) -> PyResult<()> {
    result.map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}

/// The items of a sequence that is not a str, whose items would be its characters.
fn items<'py>(
    name: &str,
    wanted: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    value.extract().map_err(|_| wrong_type(name, wanted, value))
}

/// Texts with Reason Codes; a text alone is Not authorized.
fn denials(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<(String, ReasonCode)>> {
    const WANTED: &str = "a list of str or (str, Reason Code)";
    items(name, WANTED, value)?
        .iter()
        .map(|item| {
            if let Ok(text) = item.cast::<PyString>() {
                return Ok((unicode(name, text)?.to_owned(), ReasonCode::NotAuthorized));
            }
            let (text, code): (Bound<'_, PyString>, Bound<'_, PyAny>) =
                item.extract().map_err(|_| wrong_type(name, WANTED, item))?;
            Ok((unicode(name, &text)?.to_owned(), reason_code(name, &code)?))
        })
        .collect()
}

fn bytes(name: &str, wanted: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(unicode(name, text)?.as_bytes().to_vec());
    }
    let bytes = value.cast::<PyBytes>();
    let bytes = bytes.map_err(|_| wrong_type(name, wanted, value))?;
    Ok(bytes.as_bytes().to_vec())
}

fn users(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<User>> {
    let users = value.cast::<PyMapping>();
    let users =
        users.map_err(|_| wrong_type(name, "a mapping from User Name to Password", value))?;
    users
        .items()?
        .iter()
        .map(|item| {
            let (user, password): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
            let user = text(name, &user)?;
            let password = bytes(name, "a mapping to str or bytes", &password)?;
            Ok(User::new(user.as_str(), password))
        })
        .collect()
}

fn authentication(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Authentication> {
    const WANTED: &str = "(method, [(challenge, answer), ...]) with a str and bytes";
    let parts: Result<(Bound<'_, PyAny>, Bound<'_, PyAny>), _> = value.extract();
    let (method, pairs) = parts.map_err(|_| wrong_type(name, WANTED, value))?;
    let method = text(name, &method)?;
    let mut steps = Vec::new();
    for pair in items(name, WANTED, &pairs)? {
        let parts: Result<(Bound<'_, PyAny>, Bound<'_, PyAny>), _> = pair.extract();
        let (challenge, answer) = parts.map_err(|_| wrong_type(name, WANTED, &pair))?;
        let challenge: Bytes = bytes(name, WANTED, &challenge)?.into();
        let answer: Bytes = bytes(name, WANTED, &answer)?.into();
        steps.push((challenge, answer));
    }
    Authentication::new(&method, steps)
        .map_err(|error| PyValueError::new_err(format!("{name}: {error}")))
}
