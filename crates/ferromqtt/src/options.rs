//! The options of a client, by the standard's names.

mod identity;
mod limits;
#[cfg(feature = "outbox")]
mod outbox;
mod profile;
mod servers;
mod session;
#[cfg(feature = "testing")]
mod testing;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use ferromqtt_engine::OutgoingQueueOptions;
use ferromqtt_proto as proto;
use ferromqtt_recording::Recorder;
use ferromqtt_transport::{QueryProtocol, ServerUrl};

use crate::authenticate::{AuthenticationExchange, Method};
use crate::credentials_source::{AnyProvider, CredentialsSource};
use crate::numbers::{RefusedNumbers, whole_seconds};
use crate::options_error::{AddressError, OptionsError};
use crate::transport::{Connector, Settings};
use crate::{
    CleanStart, DeclaredSubscription, Properties, PropertyError, PropertyProblem, ProtocolVersion,
    Reconnect, Server, Utf8String, Will,
};

/// Where to connect, and how. Wraps [`ferromqtt_proto::Options`].
///
/// The defaults: MQTT 5.0, Keep Alive 60 s, reconnecting; a fresh session at the first connection, which survives lost
/// connections for an hour and ends with [`Connection::disconnect`](crate::Connection::disconnect).
///
/// `Debug` never shows the password.
///
/// ```
/// use std::time::Duration;
///
/// use ferromqtt::{Options, ProtocolVersion};
///
/// let options = Options::from_url("mqtt://localhost:1883")?
///     .client_identifier("station-7")
///     .keep_alive(Duration::from_secs(30))
///     .protocol(ProtocolVersion::V311);
/// # Ok::<_, ferromqtt::AddressError>(())
/// ```
#[derive(Clone)]
pub struct Options {
    pub(crate) disconnect_timeout: Duration,
    pub(crate) will_on_error: bool,
    pub(crate) outgoing_queue: Option<OutgoingQueueOptions>,
    #[cfg(feature = "outbox")]
    pub(crate) outbox: Option<crate::Outbox>,
    pub(crate) seed: Option<u64>,
    transport: Settings,
    client_identifier: String,
    user_name: Option<String>,
    will: Option<Will>,
    authentication: Option<Method>,
    credentials: Option<Arc<dyn AnyProvider>>,
    core: proto::Options,
    /// The version of MQTT was chosen, and is not the usual one by chance.
    has_version: bool,
    refused: RefusedNumbers,
    pub(crate) subscriptions: Vec<DeclaredSubscription>,
    pub(crate) recorder: Option<Recorder>,
}

impl Options {
    /// A server by host name or IP address, and port: MQTT over TCP, or over TLS with [`Options::tls`].
    pub fn new(host: impl ToString, port: u16) -> Self {
        Self::at(Server::new(host, port))
    }

    /// A server by its URL; [`Server`] has a table of them. User name and password may stand in it, percent-encoded:
    /// `mqtts://user:pass%40word@host`.
    ///
    /// The query may hold options of the client, except with WebSocket, where it is a part of the request:
    ///
    /// | key | as |
    /// | --- | --- |
    /// | `client_id` | [`client_identifier`](Self::client_identifier), percent-encoded |
    /// | `keep_alive` | [`keep_alive`](Self::keep_alive), in seconds; 0 turns it off |
    /// | `protocol` | [`protocol`](Self::protocol): 3.1, 3.1.1 or 5; or `auto`, [`protocol_auto`](Self::protocol_auto) |
    ///
    /// ```
    /// let url = "mqtts://user:secret@broker.example?client_id=station-7&keep_alive=30";
    /// let options = ferromqtt::Options::from_url(url)?;
    /// # Ok::<_, ferromqtt::AddressError>(())
    /// ```
    ///
    /// # Errors
    /// When the URL cannot be read; each error says what is wrong with it, and none repeats a password.
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        let url = ServerUrl::parse(url)?;
        let mut options = Self::at(Server::at(url.place));
        options.user_name = url.user_name;
        options.core.password = url.password;
        if let Some(identifier) = url.query.client_identifier {
            options = options.client_identifier(identifier);
        }
        if let Some(seconds) = url.query.keep_alive {
            options = options.keep_alive(Duration::from_secs(seconds.into()));
        }
        Ok(match url.query.protocol {
            None => options,
            Some(QueryProtocol::V31) => options.protocol(ProtocolVersion::V31),
            Some(QueryProtocol::V311) => options.protocol(ProtocolVersion::V311),
            Some(QueryProtocol::V5) => options.protocol(ProtocolVersion::V5),
            Some(QueryProtocol::Auto) => options.protocol_auto(),
        })
    }

    /// The server at the path of a Unix socket.
    pub fn unix(path: impl Into<String>) -> Self {
        Self::at(Server::unix(path))
    }

    fn at(server: Server) -> Self {
        let mut core = proto::Options::default();
        core.reconnect = Some(Reconnect::default());
        core.strict = false;
        Self {
            disconnect_timeout: Duration::from_secs(5),
            will_on_error: false,
            outgoing_queue: None,
            #[cfg(feature = "outbox")]
            outbox: None,
            seed: None,
            transport: Settings::new(server),
            client_identifier: String::new(),
            user_name: None,
            will: None,
            authentication: None,
            credentials: None,
            core,
            has_version: false,
            refused: RefusedNumbers::default(),
            subscriptions: Vec::new(),
            recorder: None,
        }
    }

    /// Version of MQTT. Default: 5.0. Takes the place of [`protocol_auto`](Self::protocol_auto).
    #[must_use]
    pub const fn protocol(mut self, version: ProtocolVersion) -> Self {
        self.core.protocol = version;
        self.core.fall_back = false;
        self.has_version = true;
        self
    }

    /// MQTT 5.0 with each server that speaks it, and 3.1.1 with the others. [`Client::protocol`](crate::Client::protocol)
    /// returns the version in use. Default: off, only [`protocol`](Self::protocol) is spoken.
    ///
    /// A server that refuses 5.0, or closes the connection instead of answering, is tried again at once with 3.1.1, without
    /// counting as a failed attempt. What a server speaks is remembered for later connections until it does not hold any more.
    ///
    /// On 3.1.1 the client leaves out CONNECT and will properties, and what follows from other options of 5.0. Publishing with
    /// properties, subscribing with options and requests fail there, as with [`ProtocolVersion::V311`]. An
    /// [authenticator](Self::authenticator) is refused beside this, and so is what 3.1.1 cannot do: a password without a user
    /// name, and [`CleanStart::Never`] without a Client Identifier.
    /// [docs/protocol-versions.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/protocol-versions.md) lists all.
    #[must_use]
    pub const fn protocol_auto(mut self) -> Self {
        self.core.protocol = ProtocolVersion::V5;
        self.core.fall_back = true;
        self
    }

    /// Keep Alive, in whole seconds: up to 65,535 s, and [`Duration::ZERO`] turns it off. The server may answer with another.
    /// Default: 60 s.
    ///
    /// Anything else is refused when connecting, as [`OptionsError::OutOfRange`].
    ///
    /// A connection that falls silent ends after at most one and a half times this, as
    /// [`ConnectionError::KeepAliveTimeout`](crate::ConnectionError::KeepAliveTimeout), whether messages are being published
    /// or not. A slow one that moves does not end: a large message on its way to the server counts while the server's TCP
    /// acknowledges it (on Linux; elsewhere, while the transport takes it), and one on its way to the client counts while it
    /// gains 1 KiB per half Keep Alive.
    #[must_use]
    pub fn keep_alive(mut self, interval: Duration) -> Self {
        let expected = "whole seconds up to 65535, or 0 to turn it off";
        let seconds = whole_seconds(interval);
        if let Some(seconds) = (self.refused).note("keep_alive", interval, seconds, expected) {
            self.core.keep_alive = seconds;
        }
        self
    }

    /// All CONNECT properties (5.0). Replaces those that other methods have set. Default: none.
    #[must_use]
    pub fn properties(mut self, properties: Properties) -> Self {
        let replaced = [
            "maximum_packet_size",
            "receive_maximum",
            "session_expiry_interval",
        ];
        self.refused.forget(&replaced);
        self.core.maximum_packet_size = properties.maximum_packet_size;
        self.core.properties = properties;
        self
    }

    /// The will. Default: none.
    #[must_use]
    pub fn will(mut self, will: Will) -> Self {
        self.will = Some(will);
        self
    }

    /// Whether the server is to publish the will when the program of a [`scope`](crate::scope) fails: returns an error, panics
    /// or is cancelled. Default: `false`, leaving it always says goodbye.
    ///
    /// A [`Connection`](crate::Connection) has [`disconnect_with_will`](crate::Connection::disconnect_with_will) instead. A
    /// blocking client counts as failed when it is dropped without `disconnect` or `drain`.
    #[must_use]
    pub const fn will_on_error(mut self, publish: bool) -> Self {
        self.will_on_error = publish;
        self
    }

    /// Records the packets of each connection, both ways, below TLS and WebSocket: see [`Recorder`]. Default: none.
    ///
    /// A line is written in the call that its packet goes by in, which blocks the client's task for so long. When that fails, a
    /// warning in the log (feature `tracing`) says so, and so does [`Recorder::finish`]; the client goes on. Several clients can
    /// have clones of one recorder. [docs/recordings.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/recordings.md)
    /// says what can be done with a recording.
    ///
    /// ```
    /// use ferromqtt::Options;
    /// use ferromqtt::recording::{RecordedPayloads, Recorder};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("doc-client-{}.mqttlog", std::process::id()));
    /// let recorder = Recorder::to_file(&path, RecordedPayloads::Hashed)?;
    /// let options = Options::new("broker.example", 1883).record(recorder.clone());
    /// # let _ = options;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn record(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// Time for opening the transport and for CONNACK together. Default: 10 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.core.connect_timeout = Some(limit);
        self
    }

    /// Time for leaving: until what was accepted, and is waited for, has its outcome
    /// ([`Connection::disconnect`](crate::Connection::disconnect)), and DISCONNECT is written. Writing it gets a second more
    /// where the wait has taken all. Then what the server still sends is thrown away until it closes its side or is silent
    /// for a second, for no longer than this; and the transport is closed. Also how long a DISCONNECT may take that answers
    /// a server's mistake. Default: 5 s.
    #[must_use]
    pub const fn disconnect_timeout(mut self, limit: Duration) -> Self {
        self.disconnect_timeout = limit;
        self
    }

    /// How to reconnect; `None` never does. Default: `Some(Reconnect::default())`.
    ///
    /// An end that trying again cannot mend is final all the same: wrong credentials, unless they are
    /// [asked for](Self::credentials) each time, or another client that took the Client Identifier over. So is a first
    /// connection that does not come about, unless [`Reconnect::initial`] is set.
    #[must_use]
    pub fn reconnect(mut self, policy: impl Into<Option<Reconnect>>) -> Self {
        self.core.reconnect = policy.into();
        self
    }

    /// Whether every rule of MQTT that the server breaks ends the connection. Default: `false`.
    ///
    /// Real servers slip: mosquitto 2.0.11, for one, sends more messages at once than the
    /// [Receive Maximum](Self::receive_maximum) allows, and a client that insists reconnects again and again. Where nothing is
    /// lost, duplicated or misrouted by it, a slip is tolerated: [`Slip`](crate::Slip) lists the kinds, and what is made of
    /// each. The first of a kind on a connection is reported as [`ConnectionEvent::Tolerated`](crate::ConnectionEvent::Tolerated)
    /// and as a warning to `tracing`; [`Stats::tolerated`](crate::Stats::tolerated) counts them all.
    ///
    /// With `true` each ends the connection as [`ConnectionError::ProtocolViolation`](crate::ConnectionError::ProtocolViolation),
    /// as every other broken rule does in any case: for tests of a server. Which servers slip, and how, is listed in
    /// [docs/tolerance.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/tolerance.md).
    #[must_use]
    pub const fn strict(mut self, strict: bool) -> Self {
        self.core.strict = strict;
        self
    }

    /// Whether disconnecting ends the session: no later connection would resume it, and the server would keep it for an hour.
    pub(crate) fn ends_session(&self) -> bool {
        self.settled().ends_session()
    }

    /// What answers the server's AUTH packets, for one connection.
    pub(crate) fn authentication(&self) -> Option<AuthenticationExchange> {
        self.authentication.clone().map(AuthenticationExchange::new)
    }

    /// The provider that is asked for credentials at each attempt. What it does not give is taken from `core`, which was made
    /// from these options.
    pub(crate) fn credentials_source(&self, core: &proto::Options) -> Option<CredentialsSource> {
        let provider = Arc::clone(self.credentials.as_ref()?);
        Some(CredentialsSource {
            provider,
            user_name: core.user_name.clone(),
            password: core.password.clone(),
        })
    }

    /// What opens transports, checked: what TLS needs is read here.
    pub(crate) async fn connector(&self) -> Result<Connector, OptionsError> {
        self.transport.connector(self.core.profile).await
    }

    /// The options of the core, checked.
    pub(crate) fn to_core(&self) -> Result<proto::Options, OptionsError> {
        self.to_core_with(|_| {})
    }

    /// The same, where something else has a say once the Client Identifier is settled.
    pub(crate) fn to_core_with(
        &self,
        settle: impl FnOnce(&mut proto::Options),
    ) -> Result<proto::Options, OptionsError> {
        self.refused.check()?;
        let mut core = self.settled();
        core.client_identifier = text("the Client Identifier", &self.client_identifier)?;
        settle(&mut core);
        core.user_name = (self.user_name.as_ref())
            .map(|user_name| text("the User Name", user_name))
            .transpose()?;
        core.will = self.will.clone().map(Will::into_core).transpose()?;
        core.keep_session();
        if core.clean_start == CleanStart::Never && core.client_identifier.is_empty() {
            return Err(proto::InvalidOptions::IdentifierNeeded.into());
        }
        core.closing_timeout = self.disconnect_timeout;
        core.outgoing.messages = core.outgoing.messages.map(|limit| limit.max(1));
        match &self.authentication {
            Some(method) => {
                let name = text("the Authentication Method", &method.name)?;
                core.properties.authentication_method = Some(name);
            }
            None if core.properties.authentication_method.is_some() => {
                let what =
                    PropertyProblem::Needs("Options::authenticator, which answers the server,");
                let error = PropertyError::new("CONNECT", "authentication_method", what);
                return Err(proto::InvalidOptions::Property(error).into());
            }
            None => {}
        }
        core.servers = u16::try_from(self.transport.servers.len())
            .ok()
            .and_then(NonZeroU16::new)
            .ok_or(OptionsError::Servers(self.transport.servers.len()))?;
        core.check()?;
        Ok(core)
    }
}

fn text(what: &'static str, text: &str) -> Result<Utf8String, OptionsError> {
    Utf8String::try_from(text).map_err(|error| OptionsError::Text { what, error })
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        match self.to_core() {
            Ok(core) => shown.field("core", &core), // hides the password
            Err(error) => shown.field("error", &error),
        };
        shown
            .field("transport", &self.transport)
            .field("will_on_error", &self.will_on_error)
            .field("disconnect_timeout", &self.disconnect_timeout)
            .field("authentication", &self.authentication)
            .field("credentials", &self.credentials.is_some())
            .field("subscriptions", &self.subscriptions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OutgoingPolicy, TopicName};

    #[test]
    fn the_session_outlives_a_lost_connection_by_an_hour_unless_every_start_is_clean() {
        let options = Options::new("localhost", 1883);
        let expiry = |options: &Options| {
            let core = options.to_core().unwrap();
            core.properties.session_expiry_interval
        };
        assert_eq!(expiry(&options), Some(3_600));
        assert!(options.ends_session());
        let own = options
            .clone()
            .session_expiry_interval(Duration::from_secs(7));
        assert_eq!(expiry(&own), Some(7));
        assert!(!own.ends_session());
        let clean = options.clone().clean_start(CleanStart::Always);
        assert_eq!(expiry(&clean), None);
        let old = options.protocol(ProtocolVersion::V311);
        assert_eq!(expiry(&old), None);
        assert!(!old.ends_session());
    }

    #[test]
    fn wrong_options_are_named() {
        let options = Options::new("localhost", 1883).client_identifier("a\0");
        let error = options.to_core().unwrap_err();
        assert!(error.to_string().contains("Client Identifier"), "{error}");
        let options = Options::new("localhost", 1883).will(Will::new("a/#", ""));
        assert!(matches!(options.to_core(), Err(OptionsError::Invalid(_))));
    }

    #[test]
    fn numbers_and_times_that_mqtt_has_no_room_for_are_refused_by_the_name_of_their_option() {
        let options = Options::new("localhost", 1883);
        let half = Duration::from_millis(500);
        let long = Duration::from_secs(65_536);
        let refused = [
            ("keep_alive got 500ms", options.clone().keep_alive(half)),
            ("keep_alive got 65536s", options.clone().keep_alive(long)),
            (
                "session_expiry_interval got 500ms",
                options.clone().session_expiry_interval(half),
            ),
            (
                "session_expiry_interval got 4294967296s",
                (options.clone()).session_expiry_interval(Duration::from_secs(1 << 32)),
            ),
            ("receive_maximum got 0", options.clone().receive_maximum(0)),
            (
                "maximum_packet_size got 0",
                options.clone().maximum_packet_size(0),
            ),
            (
                "maximum_non_publish_size got 0",
                options.clone().maximum_non_publish_size(0),
            ),
            ("max_in_flight got 0", options.clone().max_in_flight(0)),
        ];
        for (expected, options) in refused {
            let error = options.to_core().unwrap_err();
            assert!(matches!(error, OptionsError::OutOfRange { .. }), "{error}");
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("Options::{expected}: give ")),
                "{text}"
            );
        }
        // The last call counts.
        let mended = options.max_in_flight(0).keep_alive(half).receive_maximum(0);
        let mended = mended.max_in_flight(1).keep_alive(Duration::ZERO);
        let core = mended.properties(Properties::default()).to_core().unwrap();
        assert_eq!(
            (core.keep_alive, core.max_in_flight),
            (0, NonZeroU16::new(1))
        );
    }

    #[test]
    fn times_are_given_to_the_server_in_seconds_and_the_longest_is_forever() {
        let options = Options::new("localhost", 1883).keep_alive(Duration::from_secs(65_535));
        for (interval, seconds) in [
            (Duration::MAX, u32::MAX),
            (Duration::from_secs(u32::MAX.into()), u32::MAX),
            (Duration::from_secs(60), 60),
        ] {
            let core = options.clone().session_expiry_interval(interval);
            let core = core.to_core().unwrap();
            assert_eq!(core.properties.session_expiry_interval, Some(seconds));
            assert_eq!(core.keep_alive, u16::MAX);
        }
    }

    #[test]
    fn a_session_that_is_never_clean_needs_a_name_to_be_found_by_in_every_version() {
        for version in [
            ProtocolVersion::V31,
            ProtocolVersion::V311,
            ProtocolVersion::V5,
        ] {
            let nameless = Options::new("localhost", 1883)
                .protocol(version)
                .clean_start(CleanStart::Never);
            let needed = OptionsError::Invalid(proto::InvalidOptions::IdentifierNeeded);
            assert_eq!(nameless.to_core().unwrap_err(), needed);
            nameless.client_identifier("station-7").to_core().unwrap();
        }
    }

    #[test]
    fn a_session_that_ends_with_the_connection_is_not_prolonged_at_its_end() {
        let options = Options::new("localhost", 1883).session_expiry_interval(Duration::ZERO);
        let ended = options.clone().session_expiry_at_disconnect(Duration::ZERO);
        ended.to_core().unwrap();
        let raised = options.session_expiry_at_disconnect(Duration::from_secs(1));
        let refused = OptionsError::Invalid(proto::InvalidOptions::SessionExpiryRaised);
        assert_eq!(raised.to_core().unwrap_err(), refused);
    }

    #[test]
    fn what_only_5_0_has_is_refused_by_name_before_it() {
        let old = Options::new("localhost", 1883).protocol(ProtocolVersion::V311);
        for (options, name) in [
            (
                old.clone().session_expiry_interval(Duration::from_secs(1)),
                "session_expiry_interval",
            ),
            (
                (old.clone()).session_expiry_at_disconnect(Duration::ZERO),
                "session_expiry_at_disconnect",
            ),
            (old.clone().receive_maximum(1), "receive_maximum"),
            (old.clone().topic_aliases_out(1), "topic_aliases_out"),
            (
                old.clone().follow_server_reference(true),
                "follow_server_reference",
            ),
            (
                old.clone()
                    .response_topic(TopicName::new("answers").unwrap()),
                "response_topic",
            ),
            (
                old.will(Will::new("gone", "").properties(Properties {
                    will_delay_interval: Some(1),
                    ..Properties::default()
                })),
                "will_delay_interval",
            ),
        ] {
            let error = options.to_core().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name} of ")), "{error}");
            assert!(error.contains("5.0 only"), "{error}");
        }
    }

    #[test]
    fn the_policy_of_new_options_is_the_default_one() {
        let options = Options::new("localhost", 1883);
        assert_eq!(options.core.outgoing_policy, OutgoingPolicy::default());
    }

    #[test]
    fn debug_hides_the_password() {
        let options = Options::new("localhost", 1883).password("geheim");
        let shown = format!("{options:?}");
        assert!(
            shown.contains("password: Some(***)") && !shown.contains("geheim"),
            "{shown}"
        );
    }
}
