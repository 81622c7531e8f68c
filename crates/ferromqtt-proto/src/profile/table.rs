//! The table of server profiles: one row for each, and for each figure its source.
//!
//! A figure is the loosest that its source allows, so that nothing is refused that some server of the profile takes. What no
//! source was found for is left out. What servers announce in CONNACK needs no row: Session Expiry, Topic Aliases.

use super::{
    KeepAliveBounds, PortProtocol, ProfileEvidence, ProfileFigure, ProfilePorts, ProfileRow,
    ProfileSource, ServerProfile, UncountedLevels,
};
use crate::packet::{ProtocolVersion, QoS};

use ProtocolVersion::{V5, V31, V311};

const fn documents(url: &'static str) -> ProfileSource {
    ProfileSource::Documents {
        url,
        read: "2026-11-30",
    }
}

const fn observed(server: &'static str) -> ProfileSource {
    ProfileSource::Observed { server }
}

impl ProfileSource {
    const fn cites<T: Copy>(self, value: T) -> ProfileFigure<T> {
        ProfileFigure {
            value,
            source: self,
        }
    }
}

/// A row without any limit, to take the rest from.
const fn row(
    profile: ServerProfile,
    name: &'static str,
    shown: &'static str,
    evidence: ProfileEvidence,
    ports: ProfilePorts,
    versions: ProfileFigure<&'static [ProtocolVersion]>,
) -> ProfileRow {
    ProfileRow {
        profile,
        name,
        shown,
        evidence,
        ports,
        alpn: None,
        needs_server_name: None,
        versions,
        needs_identifier: None,
        identifier_bytes: None,
        maximum_qos: None,
        maximum_subscribe_qos: None,
        no_retain: None,
        no_shared_subscriptions: None,
        payload_bytes: None,
        packet_bytes: None,
        topic_bytes: None,
        topic_levels: None,
        uncounted: &[],
        refused_characters: None,
        filters_per_subscribe: None,
        keep_alive: None,
        in_flight: None,
    }
}

const AWS_QUOTAS: ProfileSource =
    documents("https://docs.aws.amazon.com/general/latest/gr/iot-core.html");
const AWS_MQTT: ProfileSource =
    documents("https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html");
const AWS_PORTS: ProfileSource =
    documents("https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html");

pub(super) static AWS_IOT: ProfileRow = ProfileRow {
    alpn: Some(AWS_PORTS.cites(PortProtocol {
        port: 443,
        protocol: "x-amzn-mqtt-ca",
    })),
    needs_server_name: Some(AWS_MQTT),
    identifier_bytes: Some(AWS_QUOTAS.cites(128)),
    maximum_qos: Some(AWS_MQTT.cites(QoS::AtLeastOnce)),
    maximum_subscribe_qos: Some(AWS_MQTT.cites(QoS::AtLeastOnce)),
    payload_bytes: Some(AWS_QUOTAS.cites(128 << 10)),
    topic_bytes: Some(AWS_QUOTAS.cites(256)),
    topic_levels: Some(AWS_QUOTAS.cites(8)), // seven slashes
    uncounted: &[
        AWS_QUOTAS.cites(UncountedLevels {
            prefix: "$aws/rules/",
            levels: 3,
        }),
        AWS_MQTT.cites(UncountedLevels {
            prefix: "$share/",
            levels: 2,
        }),
    ],
    filters_per_subscribe: Some(AWS_QUOTAS.cites(8)),
    keep_alive: Some(AWS_QUOTAS.cites(KeepAliveBounds {
        least: 30,
        most: 1_200,
    })),
    in_flight: Some(AWS_QUOTAS.cites(100)),
    ..row(
        ServerProfile::AwsIot,
        "aws-iot",
        "AWS IoT Core (profile aws-iot)",
        ProfileEvidence::Documents,
        ProfilePorts {
            plain: None,
            tls: Some(AWS_PORTS.cites(8883)),
            secure_websocket: Some(AWS_PORTS.cites(443)),
        },
        AWS_MQTT.cites(&[V311, V5]),
    )
};

const EVENT_GRID_MQTT: ProfileSource =
    documents("https://learn.microsoft.com/azure/event-grid/mqtt-support");
const EVENT_GRID_QUOTAS: ProfileSource =
    documents("https://learn.microsoft.com/azure/event-grid/quotas-limits");

pub(super) static AZURE_EVENT_GRID: ProfileRow = ProfileRow {
    needs_identifier: Some(EVENT_GRID_MQTT),
    maximum_qos: Some(EVENT_GRID_MQTT.cites(QoS::AtLeastOnce)),
    packet_bytes: Some(EVENT_GRID_MQTT.cites(512 << 10)),
    topic_bytes: Some(EVENT_GRID_QUOTAS.cites(256)),
    topic_levels: Some(EVENT_GRID_QUOTAS.cites(8)),
    filters_per_subscribe: Some(EVENT_GRID_QUOTAS.cites(10)),
    keep_alive: Some(EVENT_GRID_MQTT.cites(KeepAliveBounds {
        least: 1,
        most: 1_160,
    })),
    ..row(
        ServerProfile::AzureEventGrid,
        "azure-event-grid",
        "Azure Event Grid (profile azure-event-grid)",
        ProfileEvidence::Documents,
        ProfilePorts {
            plain: None,
            tls: Some(EVENT_GRID_MQTT.cites(8883)),
            secure_websocket: Some(EVENT_GRID_MQTT.cites(443)),
        },
        EVENT_GRID_MQTT.cites(&[V311, V5]),
    )
};

const IOT_HUB: ProfileSource =
    documents("https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub");

pub(super) static AZURE_IOT_HUB: ProfileRow = ProfileRow {
    needs_identifier: Some(IOT_HUB),
    maximum_qos: Some(IOT_HUB.cites(QoS::AtLeastOnce)),
    no_retain: Some(IOT_HUB),
    payload_bytes: Some(IOT_HUB.cites(256 << 10)),
    keep_alive: Some(IOT_HUB.cites(KeepAliveBounds {
        least: 1,
        most: 1_177,
    })),
    ..row(
        ServerProfile::AzureIotHub,
        "azure-iot-hub",
        "Azure IoT Hub (profile azure-iot-hub)",
        ProfileEvidence::Documents,
        ProfilePorts {
            plain: None,
            tls: Some(IOT_HUB.cites(8883)),
            secure_websocket: Some(IOT_HUB.cites(443)),
        },
        IOT_HUB.cites(&[V311]),
    )
};

const HIVEMQ_FAQ: ProfileSource =
    documents("https://community.hivemq.com/t/frequently-asked-questions-hivemq-cloud/514");
const HIVEMQ_EXAMPLE: ProfileSource =
    documents("https://github.com/hivemq-cloud/paho-mqtt-client-example/blob/main/README.md");

pub(super) static HIVEMQ_CLOUD: ProfileRow = row(
    ServerProfile::HivemqCloud,
    "hivemq-cloud",
    "HiveMQ Cloud (profile hivemq-cloud)",
    ProfileEvidence::Documents,
    ProfilePorts {
        plain: None,
        tls: Some(HIVEMQ_EXAMPLE.cites(8883)),
        secure_websocket: None,
    },
    HIVEMQ_FAQ.cites(&[V31, V311, V5]),
);

const EMQX_PORTS: ProfileSource =
    documents("https://docs.emqx.com/en/cloud/latest/deployments/port_guide_serverless.html");
const EMQX_QUOTAS: ProfileSource =
    documents("https://docs.emqx.com/en/cloud/latest/create/restriction.html");
const EMQX_MQTT: ProfileSource =
    documents("https://docs.emqx.com/en/emqx/latest/guides/configuration/mqtt.html");

pub(super) static EMQX_CLOUD: ProfileRow = ProfileRow {
    payload_bytes: Some(EMQX_QUOTAS.cites(10 << 20)), // of dedicated deployments; 1 MB where nobody has raised it
    ..row(
        ServerProfile::EmqxCloud,
        "emqx-cloud",
        "EMQX Cloud (profile emqx-cloud)",
        ProfileEvidence::Documents,
        ProfilePorts {
            plain: None,
            tls: Some(EMQX_PORTS.cites(8883)),
            secure_websocket: Some(EMQX_PORTS.cites(8084)),
        },
        EMQX_MQTT.cites(&[V31, V311, V5]),
    )
};

const RABBITMQ_MQTT: ProfileSource = documents("https://www.rabbitmq.com/docs/mqtt");
const RABBITMQ_3_10: ProfileSource = observed("RabbitMQ 3.10.8");

pub(super) static RABBITMQ: ProfileRow = ProfileRow {
    maximum_qos: Some(RABBITMQ_MQTT.cites(QoS::AtLeastOnce)),
    no_shared_subscriptions: Some(RABBITMQ_3_10),
    ..row(
        ServerProfile::RabbitMq,
        "rabbitmq",
        "RabbitMQ (profile rabbitmq)",
        ProfileEvidence::Tested("RabbitMQ 3.10.8"),
        ProfilePorts {
            plain: Some(RABBITMQ_MQTT.cites(1883)),
            tls: Some(RABBITMQ_MQTT.cites(8883)),
            secure_websocket: None,
        },
        RABBITMQ_MQTT.cites(&[V31, V311, V5]),
    )
};

const NATS_MQTT: ProfileSource =
    documents("https://docs.nats.io/running-a-nats-service/configuration/mqtt");
const NATS_PORT: ProfileSource = documents("https://docs.nats.io/reference/config/mqtt/");
const NATS_2_9: ProfileSource = observed("NATS 2.9.10");

pub(super) static NATS: ProfileRow = ProfileRow {
    maximum_qos: Some(NATS_2_9.cites(QoS::AtLeastOnce)),
    no_shared_subscriptions: Some(NATS_2_9),
    refused_characters: Some(NATS_MQTT.cites(" .")), // "." is taken since 2.10
    ..row(
        ServerProfile::Nats,
        "nats",
        "NATS 2.9 (profile nats)",
        ProfileEvidence::Tested("NATS 2.9.10"),
        ProfilePorts {
            plain: Some(NATS_PORT.cites(1883)),
            tls: None,
            secure_websocket: None,
        },
        NATS_2_9.cites(&[V311]),
    )
};

const MOSQUITTO_MANUAL: ProfileSource =
    documents("https://mosquitto.org/man/mosquitto-conf-5.html");
const MOSQUITTO_2_0_11: ProfileSource = observed("mosquitto 2.0.11");

pub(super) static MOSQUITTO_2_0: ProfileRow = ProfileRow {
    topic_levels: Some(MOSQUITTO_2_0_11.cites(201)),
    in_flight: Some(MOSQUITTO_MANUAL.cites(20)),
    ..row(
        ServerProfile::Mosquitto20,
        "mosquitto-2.0",
        "mosquitto 2.0 (profile mosquitto-2.0)",
        ProfileEvidence::Tested("mosquitto 2.0.11"),
        ProfilePorts {
            plain: Some(MOSQUITTO_MANUAL.cites(1883)),
            tls: None,
            secure_websocket: None,
        },
        MOSQUITTO_2_0_11.cites(&[V31, V311, V5]),
    )
};
