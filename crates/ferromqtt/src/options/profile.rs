//! The service or server that a client is for, by its profile.

use ferromqtt_proto as proto;
use ferromqtt_transport::Endpoint;
use proto::{ServerProfile, ServerReach};

use super::Options;
use crate::Server;

/// # Server profiles
impl Options {
    /// A server of a profile by its host name: at its usual port, and over TLS where it needs that. Otherwise as
    /// [`profile`](Self::profile).
    ///
    /// ```
    /// use ferromqtt::{Options, ServerProfile};
    ///
    /// let options = Options::for_profile(ServerProfile::AwsIot, "example-ats.iot.eu-west-1.amazonaws.com")
    ///     .client_identifier("station-7");
    /// ```
    pub fn for_profile(profile: ServerProfile, host: impl ToString) -> Self {
        let tls = profile.needs_tls();
        let reach = ServerReach {
            tls,
            websocket: false,
            without_name: false,
        };
        let server = Server::at(Endpoint::Tcp {
            host: host.to_string(),
            port: profile.port(reach).unwrap_or(if tls { 8883 } else { 1883 }),
            tls,
        });
        Self::at(server).profile(profile)
    }

    /// The service or server that is connected to, for one whose limits are known though it does not announce them.
    /// Default: none.
    ///
    /// - What it does not take (a QoS, retained messages, topics that are too long or too deep, packets that are too large)
    ///   is refused before anything is sent, and the error names the profile. Limits that the server announces hold beside
    ///   those.
    /// - A subscription with more filters than it takes in one SUBSCRIBE is made by several, with one outcome.
    /// - Options that contradict the profile are refused when connecting, as
    ///   [`InvalidOptions::Profile`](crate::InvalidOptions::Profile): a connection without TLS where it needs that, a Keep
    ///   Alive by which it would end the connection, a will that it would not publish.
    /// - Unless [`protocol`](Self::protocol) was called, the version is 3.1.1 where it does not speak 5.0. With
    ///   [`protocol_auto`](Self::protocol_auto) too, without an attempt in 5.0.
    /// - On a port where MQTT is one of several protocols, TLS offers the right one (ALPN), unless
    ///   [`TlsOptions::alpn`](crate::TlsOptions::alpn) says otherwise.
    ///
    /// `"aws-iot".parse()` is a [`ServerProfile`] too.
    /// [docs/server-profiles.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/server-profiles.md) has all figures.
    #[must_use]
    pub const fn profile(mut self, profile: ServerProfile) -> Self {
        self.core.profile = Some(profile);
        self
    }

    /// The options of the core, with the version of MQTT that the profile settles.
    pub(super) fn settled(&self) -> proto::Options {
        let mut core = self.core.clone();
        if let Some(profile) = core.profile
            && (!self.has_version || core.fall_back)
            && !profile.speaks(core.protocol)
        {
            core.protocol = profile.version_or(core.protocol);
            core.fall_back = false;
        }
        core
    }
}
