//! What does not go with a profile.

use thiserror::Error;

use super::ServerProfile;
use crate::error::InvalidPublish;
use crate::packet::ProtocolVersion;
use crate::shown::peer_text;

/// A text that names no profile.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no server profile \"{name}\": give one of {}", names())]
#[non_exhaustive]
pub struct UnknownProfile {
    /// The text, shortened to 200 bytes, its control characters escaped.
    pub name: Box<str>,
}

impl UnknownProfile {
    pub(super) fn new(name: &str) -> Self {
        let name = peer_text(name, &[]).into();
        Self { name }
    }
}

fn names() -> String {
    let names: Vec<_> = ServerProfile::ALL.iter().map(|it| it.name()).collect();
    names.join(", ")
}

/// A topic or filter that servers of the [profile](crate::Options::profile) do not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TopicLimit {
    /// It has too many bytes.
    #[error("topic of {bytes} bytes is longer than the {limit} that {whose} accepts")]
    TooLong {
        /// Its bytes, as far as they count.
        bytes: usize,
        /// The limit broken.
        limit: usize,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// It has too many levels.
    #[error("topic of {levels} levels has more than the {limit} that {whose} accepts")]
    TooManyLevels {
        /// Its levels, as far as they count.
        levels: usize,
        /// The limit broken.
        limit: usize,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// It has a character that is not taken in topics.
    #[error("topic contains {character:?}, which {whose} does not accept in topics")]
    Character {
        /// The first one.
        character: char,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
}

/// Options that contradict their [profile](crate::Options::profile).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProfileConflict {
    /// A version that the server does not speak.
    #[error("{whose} does not speak MQTT {version}: {}", instead(*profile))]
    Version {
        /// The profile.
        profile: ServerProfile,
        /// The version asked for.
        version: ProtocolVersion,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// The server would not publish the will, or refuse the connection for it.
    #[error("the will cannot be published: {0}")]
    Will(Box<InvalidPublish>),
    /// The server assigns no Client Identifier.
    #[error("{whose} needs a Client Identifier: it assigns none")]
    IdentifierNeeded {
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// The Client Identifier has too many bytes.
    #[error(
        "the Client Identifier of {bytes} bytes is longer than the {limit} that {whose} accepts"
    )]
    IdentifierTooLong {
        /// Its bytes.
        bytes: usize,
        /// The limit broken.
        limit: usize,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// A Keep Alive by which the server would end connections that this client takes to be alive.
    #[error(
        "{whose} ends connections that are silent for longer than a Keep Alive of {most} s: give that or less, and not 0"
    )]
    KeepAlive {
        /// The longest one, in seconds.
        most: u16,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// A connection without TLS.
    #[error("{whose} needs TLS: connect with it{}", usual_port(*port))]
    NeedsTls {
        /// Where the server usually listens.
        port: Option<u16>,
        /// The server, and the name of its profile.
        whose: &'static str,
    },
    /// An IP address where the name of the server is needed.
    #[error(
        "{whose} needs the name of the server in TLS (SNI), and the host is an address: give the name that the service has given you"
    )]
    NeedsServerName {
        /// The server, and the name of its profile.
        whose: &'static str,
    },
}

fn usual_port(port: Option<u16>) -> String {
    port.map_or_else(String::new, |port| format!(", usually to port {port}"))
}

fn instead(profile: ServerProfile) -> String {
    let spoken = profile.row().versions.value.iter();
    let spoken: Vec<_> = spoken.map(ToString::to_string).collect();
    format!("choose {}", spoken.join(" or "))
}
