//! Server profiles: what a service or server takes, where its CONNACK does not say it.

mod check;
mod error;
mod reach;
mod table;

use std::fmt;
use std::str::FromStr;

use crate::packet::{ProtocolVersion, QoS};

pub use error::{ProfileConflict, TopicLimit, UnknownProfile};
pub use reach::ServerReach;

/// A service or a server whose limits are known, though it does not announce them: for
/// [`Options::profile`](crate::Options::profile).
///
/// What such a server cannot do is refused before anything is sent, and the error names the profile. A SUBSCRIBE with more
/// filters than it takes is sent as several. Limits of the CONNACK hold beside those of the profile.
///
/// `FromStr` and `Display` use the names that Python uses, such as `aws-iot`. The figures, each with its source, are in
/// [`row`](Self::row), and as a table in
/// [docs/server-profiles.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/server-profiles.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerProfile {
    /// AWS IoT Core: `aws-iot`.
    AwsIot,
    /// The MQTT broker of an Azure Event Grid namespace: `azure-event-grid`.
    AzureEventGrid,
    /// Azure IoT Hub: `azure-iot-hub`.
    AzureIotHub,
    /// HiveMQ Cloud: `hivemq-cloud`.
    HivemqCloud,
    /// EMQX Cloud, serverless and dedicated: `emqx-cloud`.
    EmqxCloud,
    /// RabbitMQ with its MQTT plugin: `rabbitmq`.
    RabbitMq,
    /// NATS 2.9 and older: `nats`.
    Nats,
    /// mosquitto 2.0: `mosquitto-2.0`.
    Mosquitto20,
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSource {
    /// The vendor's documents, at this address, as they were on that day.
    Documents {
        /// Their address.
        url: &'static str,
        /// When they were read, as year-month-day.
        read: &'static str,
    },
    /// A server of this version, which the tests of this project run.
    Observed {
        /// The server and its version.
        server: &'static str,
    },
}

/// A figure of a profile, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileFigure<T> {
    /// The figure.
    pub value: T,
    /// Where it comes from.
    pub source: ProfileSource,
}

/// Whether a row was compared with what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileEvidence {
    /// The tests of this project run a server of this version with the profile.
    Tested(&'static str),
    /// All is from documents.
    Documents,
}

/// Ports that the server listens on. One that needs TLS has no plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfilePorts {
    /// MQTT over TCP.
    pub plain: Option<ProfileFigure<u16>>,
    /// Over TLS.
    pub tls: Option<ProfileFigure<u16>>,
    /// Over WebSocket and TLS.
    pub secure_websocket: Option<ProfileFigure<u16>>,
}

/// A protocol that TLS must offer (ALPN) on one port, where MQTT is one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortProtocol {
    /// The port.
    pub port: u16,
    /// The name of the protocol.
    pub protocol: &'static str,
}

/// Levels at the front of some topics that count against no limit of topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncountedLevels {
    /// What such a topic begins with.
    pub prefix: &'static str,
    /// How many of its levels do not count.
    pub levels: usize,
}

/// Keep Alive that a server takes, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAliveBounds {
    /// A shorter one is taken for this one: then the server notices later that the client has gone.
    pub least: u16,
    /// A longer one, or none, is taken for this one: then the server ends connections that the client takes to be alive.
    pub most: u16,
}

/// All that is known of one server. `None` is no limit, or none that a source was found for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileRow {
    /// The profile.
    pub profile: ServerProfile,
    /// Its name for programs: `aws-iot`.
    pub name: &'static str,
    /// The server and the profile as errors name them.
    pub shown: &'static str,
    /// Whether the row was compared with a server.
    pub evidence: ProfileEvidence,
    /// Its ports. One without a plain port needs TLS.
    pub ports: ProfilePorts,
    /// The protocol that TLS must offer on one of them.
    pub alpn: Option<ProfileFigure<PortProtocol>>,
    /// It finds the client's account by the server name in TLS (SNI), so an IP address does not lead there.
    pub needs_server_name: Option<ProfileSource>,
    /// The versions of MQTT that it speaks.
    pub versions: ProfileFigure<&'static [ProtocolVersion]>,
    /// It assigns no Client Identifiers.
    pub needs_identifier: Option<ProfileSource>,
    /// How many bytes a Client Identifier may have.
    pub identifier_bytes: Option<ProfileFigure<usize>>,
    /// The highest QoS to publish at.
    pub maximum_qos: Option<ProfileFigure<QoS>>,
    /// The highest QoS to subscribe with, where it does not just grant less.
    pub maximum_subscribe_qos: Option<ProfileFigure<QoS>>,
    /// It keeps no retained messages.
    pub no_retain: Option<ProfileSource>,
    /// It has no Shared Subscriptions, and takes `$share` for a topic level like any other.
    pub no_shared_subscriptions: Option<ProfileSource>,
    /// How many bytes a payload may have.
    pub payload_bytes: Option<ProfileFigure<usize>>,
    /// How many bytes a packet may have.
    pub packet_bytes: Option<ProfileFigure<usize>>,
    /// How many bytes a topic or filter may have.
    pub topic_bytes: Option<ProfileFigure<usize>>,
    /// How many levels a topic or filter may have.
    pub topic_levels: Option<ProfileFigure<usize>>,
    /// Levels that do not count for these two.
    pub uncounted: &'static [ProfileFigure<UncountedLevels>],
    /// Characters that no topic may have.
    pub refused_characters: Option<ProfileFigure<&'static str>>,
    /// How many filters a SUBSCRIBE may have: one with more is sent as several.
    pub filters_per_subscribe: Option<ProfileFigure<usize>>,
    /// The Keep Alive that it takes.
    pub keep_alive: Option<ProfileFigure<KeepAliveBounds>>,
    /// How many QoS 1 and 2 messages may be unacknowledged, unless the options say another number.
    pub in_flight: Option<ProfileFigure<u16>>,
}

impl ServerProfile {
    /// All profiles.
    pub const ALL: &'static [Self] = &[
        Self::AwsIot,
        Self::AzureEventGrid,
        Self::AzureIotHub,
        Self::HivemqCloud,
        Self::EmqxCloud,
        Self::RabbitMq,
        Self::Nats,
        Self::Mosquitto20,
    ];

    /// The name for programs, such as `aws-iot`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// What is known of the server.
    pub const fn row(self) -> &'static ProfileRow {
        match self {
            Self::AwsIot => &table::AWS_IOT,
            Self::AzureEventGrid => &table::AZURE_EVENT_GRID,
            Self::AzureIotHub => &table::AZURE_IOT_HUB,
            Self::HivemqCloud => &table::HIVEMQ_CLOUD,
            Self::EmqxCloud => &table::EMQX_CLOUD,
            Self::RabbitMq => &table::RABBITMQ,
            Self::Nats => &table::NATS,
            Self::Mosquitto20 => &table::MOSQUITTO_2_0,
        }
    }

    /// Whether the server speaks this version of MQTT.
    pub fn speaks(self, version: ProtocolVersion) -> bool {
        self.row().versions.value.contains(&version)
    }

    /// The version to speak where the program has chosen none: `usual`, or the latest one that the server speaks.
    #[must_use]
    pub fn version_or(self, usual: ProtocolVersion) -> ProtocolVersion {
        let latest = self.row().versions.value.last();
        match latest {
            Some(&latest) if !self.speaks(usual) => latest,
            _ => usual,
        }
    }
}

impl fmt::Display for ServerProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ServerProfile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, UnknownProfile> {
        let mut all = Self::ALL.iter().copied();
        all.find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile::new(name))
    }
}
