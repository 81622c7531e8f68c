//! Rules for faults and what goes with them, from their texts.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto::packet::PublishPacket;
use ferromqtt_proto::{QoS, TopicName, Utf8String};
use ferromqtt_testing::{BrokerSide, FaultError, FaultRule, parse_duration};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub(super) fn rule(text: &str) -> PyResult<FaultRule> {
    (text.parse()).map_err(|error| PyValueError::new_err(format!("{error}")))
}

pub(super) fn error(error: FaultError) -> PyErr {
    PyValueError::new_err(format!("{error}"))
}

pub(super) const fn side(sends: bool) -> BrokerSide {
    match sends {
        true => BrokerSide::Sends,
        false => BrokerSide::Receives,
    }
}

pub(super) fn duration(text: &str) -> PyResult<Duration> {
    parse_duration(text).ok_or_else(|| {
        let problem = format!("{text:?} is no duration such as \"3s\" or \"50ms\"");
        PyValueError::new_err(problem)
    })
}

pub(super) fn message(
    topic: &str,
    payload: &[u8],
    qos: u8,
    retain: bool,
) -> PyResult<PublishPacket> {
    let wrong = |error: String| PyValueError::new_err(format!("topic: {error}"));
    TopicName::check(topic).map_err(|error| wrong(error.to_string()))?;
    Ok(PublishPacket {
        dup: false,
        qos: QoS::from_value(qos).unwrap_or_default(),
        retain,
        topic: Utf8String::try_from(topic).map_err(|error| wrong(error.to_string()))?,
        packet_id: None,
        properties: None,
        payload: Bytes::copy_from_slice(payload),
    })
}
