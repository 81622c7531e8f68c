//! The will (section 3.1.2.5).

use bytes::Bytes;
use ferromqtt_proto::{self as proto, debug_fields};

use crate::options_error::OptionsError;
use crate::{IntoPayload, Properties, QoS, Utf8String};

/// The message that the server publishes when the client is gone without having disconnected (MQTT-3.1.2-8). Builds a
/// [`ferromqtt_proto::Will`].
///
/// A client that ends on purpose can ask for it too:
/// [`Connection::disconnect_with_will`](crate::Connection::disconnect_with_will),
/// [`Options::will_on_error`](crate::Options::will_on_error).
///
/// ```
/// use ferromqtt::{Options, QoS, Will};
///
/// let will = Will::new("status/station", "lost").qos(QoS::AtLeastOnce).retain(true);
/// let options = Options::new("localhost", 1883).will(will);
/// ```
///
/// `Debug` shows the length of the payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Will {
    pub(crate) topic: String,
    payload: Bytes,
    qos: QoS,
    retain: bool,
    properties: Properties,
}

debug_fields!(Will {
    topic,
    payload: length,
    qos,
    retain,
    properties
});

impl Will {
    /// A will at QoS 0, not retained. The topic is checked when connecting.
    pub fn new(topic: impl Into<String>, payload: impl IntoPayload) -> Self {
        Self {
            topic: topic.into(),
            payload: payload.into_payload(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: Properties::default(),
        }
    }

    /// Will QoS. Default: 0.
    #[must_use]
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// Will Retain: the server keeps the message for later subscriptions. Default: `false`.
    #[must_use]
    pub const fn retain(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// Will properties (5.0), such as the Will Delay Interval. Default: none.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    pub(crate) fn into_core(self) -> Result<proto::Will, OptionsError> {
        let topic = Utf8String::from_string(self.topic).map_err(|error| OptionsError::Text {
            what: "the will topic",
            error,
        })?;
        Ok(proto::Will {
            topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
        })
    }
}
