//! What is measured: one message, in each version and QoS.

use ferromqtt_proto::{ProtocolVersion, QoS};

/// A message in no codec's form: each codec builds its own packet of it, and says what it has read by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    /// Present at QoS 1, absent at QoS 0.
    pub(crate) packet_id: Option<u16>,
    pub(crate) message_expiry_interval: Option<u32>,
}

/// One row group of the table.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) version: ProtocolVersion,
    pub(crate) message: Message,
}

impl Case {
    fn new(
        name: &'static str,
        version: ProtocolVersion,
        qos: QoS,
        message_expiry_interval: Option<u32>,
    ) -> Self {
        let message = Message {
            topic: "sensors/kitchen/temperature".to_owned(),
            payload: (b' '..).take(64).collect(),
            packet_id: (qos == QoS::AtLeastOnce).then_some(4711),
            message_expiry_interval,
        };
        Self {
            name,
            version,
            message,
        }
    }

    pub(crate) fn all() -> Vec<Self> {
        use ProtocolVersion::{V5, V311};
        use QoS::{AtLeastOnce, AtMostOnce};
        vec![
            Self::new("3.1.1 QoS 0", V311, AtMostOnce, None),
            Self::new("3.1.1 QoS 1", V311, AtLeastOnce, None),
            Self::new("5.0 QoS 0", V5, AtMostOnce, None),
            Self::new("5.0 QoS 1", V5, AtLeastOnce, None),
            Self::new("5.0 QoS 0, a property", V5, AtMostOnce, Some(3600)),
            Self::new("5.0 QoS 1, a property", V5, AtLeastOnce, Some(3600)),
        ]
    }
}
