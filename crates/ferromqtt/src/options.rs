//! What a connection is told once, under the standard's names.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ferromqtt_proto as proto;
use ferromqtt_transport::ServerUrl;

use crate::authenticate::{Authentication, Authenticator, Method};
use crate::credentials::{AnyProvider, Source};
use crate::error::{AddressError, OptionsError};
use crate::numbers::{RefusedNumbers, whole_seconds};
use crate::transport::{Connector, Settings};
use crate::{
    CleanStart, CredentialsProvider, DeclaredSubscription, OnSessionLost, OutgoingLimits,
    OutgoingPolicy, Properties, PropertyError, PropertyProblem, ProtocolVersion, QueueOptions,
    Reconnect, Server, TopicName, Transport, Utf8String, Will,
};

/// What an option expects that cannot be 0.
const ONE_OR_MORE: &str = "1 or more";

/// Where to connect, and how.
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
    transport: Settings,
    client_identifier: String,
    user_name: Option<String>,
    will: Option<Will>,
    authentication: Option<Method>,
    credentials: Option<Arc<dyn AnyProvider>>,
    core: proto::Options,
    refused: RefusedNumbers,
    pub(crate) subscriptions: Vec<DeclaredSubscription>,
}

impl Options {
    /// A server by host name or IP address, and port: MQTT over TCP, or over TLS with [`Options::tls`].
    pub fn new(host: impl ToString, port: u16) -> Self {
        Self::at(Server::new(host, port))
    }

    /// A server by its URL; [`Server`] has a table of them. User name and password may stand in it, percent-encoded:
    /// `mqtts://user:pass%40word@host`.
    ///
    /// # Errors
    /// When the URL cannot be read; each error says what is wrong with it, and none repeats a password.
    pub fn from_url(url: &str) -> Result<Self, AddressError> {
        let url = ServerUrl::parse(url)?;
        let mut options = Self::at(Server::at(url.place));
        options.user_name = url.user_name;
        options.core.password = url.password;
        Ok(options)
    }

    /// The server at the path of a Unix socket.
    pub fn unix(path: impl Into<String>) -> Self {
        Self::at(Server::unix(path))
    }

    /// The test broker, over connections in memory: no port and no network, and time that a test can pause. The server of
    /// errors and logs is `test-broker`.
    ///
    /// All other options apply, [`reconnect`](Self::reconnect) and [`servers`](Self::servers) among them, whose attempts all
    /// lead to this broker. What shapes a connection over a network is refused when connecting, as
    /// [`OptionsError::InMemory`]: TLS, proxy, WebSocket headers and bind address. To test options that have those, keep them,
    /// and replace the connection: `options.transport(broker.transport())`.
    ///
    /// Once the broker is stopped or dropped, attempts to connect fail as
    /// [`TransportError::Failed`](crate::TransportError::Failed).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ferromqtt::testing::TestBroker;
    /// use ferromqtt::{Client, Error, Options};
    ///
    /// /// The program to be tested: publishes a reading every minute.
    /// async fn report(client: Client, readings: [&'static str; 3]) -> Result<(), Error> {
    ///     for reading in readings {
    ///         client.publish("site/7/level", reading).await?;
    ///         tokio::time::sleep(Duration::from_secs(60)).await;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # /*
    /// #[tokio::test(start_paused = true)]
    /// # */
    /// async fn reports_every_minute() -> Result<(), Error> {
    ///     let broker = TestBroker::new();
    ///     ferromqtt::scope(Options::test(&broker), async |watcher| {
    ///         let mut levels = watcher.subscribe("site/+/level").await?;
    ///         ferromqtt::scope(Options::test(&broker), async |client| {
    ///             report(client, ["28.4", "28.5", "28.9"]).await
    ///         })
    ///         .await?;
    ///         for expected in ["28.4", "28.5", "28.9"] {
    ///             let message = levels.next().await.expect("a reading");
    ///             assert_eq!(message.text()?, expected);
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// }
    /// # let mut builder = tokio::runtime::Builder::new_current_thread();
    /// # builder.enable_time().start_paused(true).build().unwrap().block_on(reports_every_minute()).unwrap();
    /// ```
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn test(broker: &ferromqtt_testing::TestBroker) -> Self {
        let mut options = Self::new("test-broker", 1883).transport(broker.transport());
        options.transport.in_memory = true;
        options
    }

    fn at(server: Server) -> Self {
        let mut core = proto::Options::default();
        core.reconnect = Some(Reconnect::default());
        core.strict = false;
        Self {
            disconnect_timeout: Duration::from_secs(5),
            will_on_error: false,
            transport: Settings::new(server),
            client_identifier: String::new(),
            user_name: None,
            will: None,
            authentication: None,
            credentials: None,
            core,
            refused: RefusedNumbers::default(),
            subscriptions: Vec::new(),
        }
    }

    /// Several servers instead of one. They are tried in turn: the next one at once when an attempt has failed, and a pause
    /// as [`reconnect`](Self::reconnect) says when all have. A connection that was accepted and is lost waits first.
    ///
    /// All get the same user name, password and other options; [`credentials`](Self::credentials) gives each its own.
    ///
    /// ```
    /// use ferromqtt::{Options, Server};
    ///
    /// let second: Server = "mqtts://two.example:8884".parse()?;
    /// let options = Options::from_url("mqtts://user:password@one.example")?
    ///     .servers(["mqtts://one.example".parse()?, second]);
    /// # Ok::<_, ferromqtt::AddressError>(())
    /// ```
    #[must_use]
    pub fn servers(mut self, servers: impl IntoIterator<Item = Server>) -> Self {
        self.transport.servers = servers.into_iter().collect();
        self
    }

    /// Whether to connect to the server that another one refers to by Use another server or Server moved (5.0, section
    /// 4.11), with the same credentials: only for servers that you trust. It is reached in the same way (TCP, TLS, WebSocket
    /// ...), and never in a less secure one. When that connection ends, the list is used again. Default: `false`.
    #[must_use]
    pub const fn follow_server_reference(mut self, follow: bool) -> Self {
        self.core.follow_server_reference = follow;
        self
    }

    /// How to speak TLS. With it, **every** server is spoken to over TLS, whatever its URL says, except one behind a Unix
    /// socket. Without it, those whose URLs say `mqtts` or `wss` are, with the defaults of [`TlsOptions`](crate::TlsOptions).
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::TlsOptions) -> Self {
        self.transport.tls = Some(tls);
        self
    }

    /// Reaches servers through a proxy, except those behind a Unix socket. Default: none; no environment variable is read.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, proxy: crate::Proxy) -> Self {
        self.transport.proxy = Some(proxy);
        self
    }

    /// Sets a header of the WebSocket request, and replaces the one that it usually has. Default: Host, Upgrade, Connection,
    /// Origin, Sec-WebSocket-Key, Sec-WebSocket-Version, and Sec-WebSocket-Protocol with `mqtt`.
    ///
    /// Refused when connecting if no server is reached by WebSocket
    /// ([`OptionsError::HeadersWithoutWebSocket`]).
    ///
    /// Headers are not shown by `Debug`: a token may stand in one.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn websocket_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Some(value.into());
        self.transport.headers.set(name.into(), value);
        self
    }

    /// Leaves a header of the WebSocket request out that it usually has. Without Sec-WebSocket-Protocol the server need not
    /// say that it speaks MQTT (MQTT-6.0.0-4), as some old ones do not.
    #[cfg(feature = "websocket")]
    #[must_use]
    pub fn without_websocket_header(mut self, name: impl Into<String>) -> Self {
        self.transport.headers.set(name.into(), None);
        self
    }

    /// The local IP address that connections come from. Only server addresses of the same kind (IPv4 or IPv6) are tried
    /// then. Default: the system chooses.
    #[must_use]
    pub const fn bind_address(mut self, address: IpAddr) -> Self {
        self.transport.bind_address = Some(address);
        self
    }

    /// Connects in a way of your own, in place of everything that comes with this crate: TCP, TLS, WebSocket, proxy and
    /// bind address, whose options have no effect then. It is given the [`Server`] to connect to.
    ///
    /// Anything that reads and writes bytes will do; [`Transport`] has an example. In a test it is the broker of the crate
    /// `ferromqtt-testing`, in memory, and all other options stay those of the program:
    ///
    /// ```
    /// use ferromqtt::{Error, Options};
    /// use ferromqtt_testing::TestBroker;
    ///
    /// /// What the program connects with.
    /// fn options() -> Options {
    ///     Options::new("broker.example", 1883).client_identifier("station-7")
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let broker = TestBroker::new();
    /// ferromqtt::scope(options().transport(broker.transport()), async |client| {
    ///     client.publish("temperature/outside", "28.4").await?;
    ///     Ok(())
    /// })
    /// .await?;
    /// # Ok::<_, Error>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport.own = Some(Arc::new(transport));
        self.transport.in_memory = false;
        self
    }

    /// Version of MQTT. Default: 5.0.
    #[must_use]
    pub const fn protocol(mut self, version: ProtocolVersion) -> Self {
        self.core.protocol = version;
        self
    }

    /// Client Identifier. Default: empty, which lets the server choose one.
    ///
    /// Two clients with the same one take the server from each other. Where the server says so (5.0: Session taken over) the
    /// one that loses does not reconnect; before 5.0, and with servers that say nothing (mosquitto 2.0), both go on forever.
    /// Either way [`ConnectionEvent::IdentifierContested`](crate::ConnectionEvent::IdentifierContested) and the log tell.
    #[must_use]
    pub fn client_identifier(mut self, identifier: impl Into<String>) -> Self {
        self.client_identifier = identifier.into();
        self
    }

    /// Clean Start (5.0) or Clean Session (3.x). Default: [`CleanStart::FirstOnly`].
    ///
    /// With [`CleanStart::Never`] give a [Client Identifier](Self::client_identifier) too: a session is found by it. Without
    /// one the options are refused, on 5.0 too, since a name that the server chooses is unknown to the next
    /// [`Connection`](crate::Connection), and the session would be left behind. The subscriptions in it are kept
    /// when their streams are dropped, and end by [`Messages::unsubscribe`](crate::Messages::unsubscribe) or
    /// [`Client::unsubscribe`](crate::Client::unsubscribe). What the server has kept for the session comes to the streams
    /// that are [declared](Self::subscription), and to those that are subscribed [in time](Self::claim_within).
    #[must_use]
    pub const fn clean_start(mut self, clean_start: CleanStart) -> Self {
        self.core.clean_start = clean_start;
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

    /// Session Expiry Interval (5.0), in whole seconds: how long the server keeps the session without a connection.
    /// [`Duration::MAX`] is forever, and so are the 4,294,967,295 s that MQTT has for it; anything between, and a part of a
    /// second, is refused when connecting, as [`OptionsError::OutOfRange`].
    ///
    /// Default: one hour, and 0 with [`CleanStart::Always`]. With [`CleanStart::FirstOnly`] and no interval given here,
    /// disconnecting ends the session at once, since nobody would resume it.
    #[must_use]
    pub fn session_expiry_interval(mut self, interval: Duration) -> Self {
        let expected = "whole seconds up to 4294967294, or Duration::MAX, which is forever";
        let seconds = match interval {
            Duration::MAX => Some(u32::MAX),
            interval => whole_seconds(interval),
        };
        let option = "session_expiry_interval";
        if let Some(seconds) = self.refused.note(option, interval, seconds, expected) {
            self.core.properties.session_expiry_interval = Some(seconds);
        }
        self
    }

    /// Receive Maximum (5.0): how many QoS 1 and 2 messages the server may have unacknowledged. Default: 65,535. 0 is refused
    /// when connecting, as [`OptionsError::OutOfRange`].
    ///
    /// A server that sends more is disconnected only when it exceeds 65,535 messages, or 64 MiB, or if the client is
    /// [strict](Self::strict).
    #[must_use]
    pub fn receive_maximum(mut self, messages: u16) -> Self {
        let maximum = NonZeroU16::new(messages);
        let option = "receive_maximum";
        if let Some(maximum) = self.refused.note(option, messages, maximum, ONE_OR_MORE) {
            self.core.properties.receive_maximum = Some(maximum);
        }
        self
    }

    /// How many bytes a packet from the server may have; a larger one is refused before it is read. Default: no limit but
    /// MQTT's, 256 MiB. 0 is refused when connecting, as [`OptionsError::OutOfRange`].
    ///
    /// On 5.0 it is announced as Maximum Packet Size, and a server that keeps to it drops larger messages (MQTT-3.1.2-25).
    /// Earlier versions cannot announce it: there a larger packet ends the connection as
    /// [`ConnectionError::PacketTooLarge`](crate::ConnectionError::PacketTooLarge), and again in the next one if the server
    /// resends it.
    #[must_use]
    pub fn maximum_packet_size(mut self, bytes: u32) -> Self {
        let size = NonZeroU32::new(bytes);
        let option = "maximum_packet_size";
        if let Some(size) = self.refused.note(option, bytes, size, ONE_OR_MORE) {
            self.core.maximum_packet_size = Some(size);
        }
        self
    }

    /// How many bytes a packet other than PUBLISH may have from the server, such as CONNACK, SUBACK and DISCONNECT. Default:
    /// 1 MiB. 0 is refused when connecting, as [`OptionsError::OutOfRange`].
    ///
    /// A larger one is refused before it is read, and ends the connection as
    /// [`ConnectionError::NonPublishTooLarge`](crate::ConnectionError::NonPublishTooLarge); on 5.0 DISCONNECT says Quota
    /// exceeded. Such packets carry no message, and CONNACK comes before the server has proved who it is, so this bounds
    /// what a stranger can have the client hold.
    #[must_use]
    pub fn maximum_non_publish_size(mut self, bytes: u32) -> Self {
        let size = NonZeroU32::new(bytes);
        let option = "maximum_non_publish_size";
        if let Some(size) = self.refused.note(option, bytes, size, ONE_OR_MORE) {
            self.core.maximum_non_publish_size = size;
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
    /// A [`Connection`](crate::Connection) has [`disconnect_with_will`](crate::Connection::disconnect_with_will) instead.
    #[must_use]
    pub const fn will_on_error(mut self, publish: bool) -> Self {
        self.will_on_error = publish;
        self
    }

    /// User Name. Default: none.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = Some(user_name.into());
        self
    }

    /// Password. Default: none. Without TLS it crosses the network as it is.
    #[must_use]
    pub fn password(mut self, password: impl Into<Bytes>) -> Self {
        self.core.password = Some(password.into());
        self
    }

    /// Asks for credentials at each attempt to connect, for those that expire: a JSON Web Token, a shared access signature.
    /// Default: none, the same at each attempt.
    ///
    /// What the provider does counts to [`connect_timeout`](Self::connect_timeout). If it fails, the attempt has failed as
    /// [`ConnectionError::NoCredentials`](crate::ConnectionError::NoCredentials), and [`reconnect`](Self::reconnect) says
    /// what follows. An end for bad credentials is not final then: a refusal as Bad User Name or Password or Not authorized
    /// (of 3.x, with Return Code 4 or 5), and Not authorized from a server that disconnects. The next attempt, after a pause,
    /// has others.
    ///
    /// ```
    /// use ferromqtt::{ConnectAttempt, Credentials, Options};
    ///
    /// # async fn fetch_token() -> std::io::Result<String> { Ok("token".to_owned()) }
    /// let options = Options::new("localhost", 1883).credentials(async |_: ConnectAttempt| {
    ///     let token = fetch_token().await?; // from a service of yours
    ///     Ok(Credentials::new().user_name("station-7").password(token))
    /// });
    /// ```
    #[must_use]
    pub fn credentials(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(Arc::new(provider));
        self.core.fresh_credentials = true;
        self
    }

    /// Enhanced authentication (5.0, section 4.12) by this Authentication Method: `begin` makes an [`Authenticator`] for each
    /// exchange. Default: none.
    #[must_use]
    pub fn authenticator<A: Authenticator>(
        mut self,
        method: impl Into<String>,
        begin: impl Fn() -> A + Send + Sync + 'static,
    ) -> Self {
        self.authentication = Some(Method::new(method.into(), begin));
        self
    }

    /// Where the responses to [requests](crate::Client::request) are sent (5.0): a topic that no other client subscribes to.
    /// Default: one below the Response Information that the server gives, otherwise below `responses`, with a random name.
    #[must_use]
    pub fn response_topic(mut self, topic: TopicName) -> Self {
        self.core.response_topic = Some(topic);
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
    /// [asked for](Self::credentials) each time, or another client that took the Client Identifier over. So is a first connection that does not come about, unless [`Reconnect::initial`] is set.
    #[must_use]
    pub fn reconnect(mut self, policy: impl Into<Option<Reconnect>>) -> Self {
        self.core.reconnect = policy.into();
        self
    }

    /// How many QoS 1 and 2 messages may be unacknowledged at once, if that is less than the server's Receive Maximum.
    /// Default: that alone, and before 5.0, where a server cannot say how many it takes, 20. 0 is refused when connecting, as
    /// [`OptionsError::OutOfRange`].
    ///
    /// More than 20 before 5.0 make QoS 1 faster where the way is long. Of QoS 2 messages, though, mosquitto 2.0 passes on no
    /// more than 20 of those that were in flight when the connection was cut, while it acknowledges all.
    #[must_use]
    pub fn max_in_flight(mut self, messages: u16) -> Self {
        let window = NonZeroU16::new(messages);
        if let Some(window) = (self.refused).note("max_in_flight", messages, window, ONE_OR_MORE) {
            self.core.max_in_flight = Some(window);
        }
        self
    }

    /// Bounds of the outgoing queue, in messages and in bytes of whole messages. At least one message always finds room.
    /// Default: 1,000 messages and 16 MiB.
    #[must_use]
    pub const fn outgoing(mut self, limits: OutgoingLimits) -> Self {
        self.core.outgoing = limits;
        self
    }

    /// What a publish meets that these bounds leave no room for. Default: [`OutgoingPolicy::Wait`], it waits for room.
    #[must_use]
    pub const fn outgoing_policy(mut self, policy: OutgoingPolicy) -> Self {
        self.core.outgoing_policy = policy;
        self
    }

    /// How many Topic Aliases to assign at most (5.0), beside the server's Topic Alias Maximum: a topic that is published to
    /// again is then left out of the packet. Default: 0, which assigns none.
    #[must_use]
    pub const fn topic_aliases_out(mut self, maximum: u16) -> Self {
        self.core.topic_aliases_out = maximum;
        self
    }

    /// Declares a subscription, which is made as soon as the server has accepted the first connection. Its stream gets
    /// everything from the first message on, and [`Client::declared`](crate::Client::declared) takes it. In a session that
    /// outlives the program ([`CleanStart::Never`]) that includes all that the server has stored meanwhile.
    ///
    /// It is otherwise a subscription like any other: it is renewed when the server loses the session, and ends, or is
    /// detached, with its stream. When the server refuses it, [`declared`](crate::Client::declared) returns the error; if its
    /// stream has not been taken by then, [`ConnectionEvent::NotSubscribed`](crate::ConnectionEvent::NotSubscribed) reports
    /// it too. Messages fill the bounds of its queue from the start, so take each stream that you declare. Default: none.
    ///
    /// ```no_run
    /// use ferromqtt::{CleanStart, DeclaredSubscription, Error, Options, QoS};
    ///
    /// # async fn example() -> Result<(), Error> {
    /// let options = Options::new("localhost", 1883)
    ///     .client_identifier("worker")
    ///     .clean_start(CleanStart::Never)
    ///     .subscription(DeclaredSubscription::new("jobs/#").qos(QoS::AtLeastOnce));
    /// ferromqtt::scope(options, async |client| {
    ///     let mut jobs = client.declared("jobs/#").await?;
    ///     while let Some(job) = jobs.next().await {
    ///         println!("{}", job.topic);
    ///     }
    ///     Ok(())
    /// })
    /// .await
    /// # }
    /// ```
    #[must_use]
    pub fn subscription(mut self, subscription: DeclaredSubscription) -> Self {
        self.subscriptions.push(subscription);
        self
    }

    /// How long messages that no stream has asked for are held, unacknowledged, for a stream to claim them; `None` is forever.
    /// Default: 30 s.
    ///
    /// A session that the server resumes may bring messages before the program has subscribed. Those of QoS 1 and 2 are held
    /// until a stream [claims](crate::Client::subscribe) them: the first that subscribes to a matching filter gets them, in
    /// order of arrival, under the rules of its own queue. [`Client::messages`](crate::Client::messages) claims all. So are
    /// those for a stream that was [detached](crate::Messages::detach), until the next one. The time begins with the
    /// connection, or with detaching; a lost connection does not prolong it for a message that is held.
    ///
    /// What nobody has claimed then goes to [`Client::messages`](crate::Client::messages) and is acknowledged, because
    /// acknowledgements leave in order (MQTT-4.6.0-2): it would hold up all that came behind it.
    /// [`ConnectionEvent::Unclaimed`](crate::ConnectionEvent::Unclaimed) reports it. With `None` an unclaimed message holds
    /// up the others, until the server's window or our Receive Maximum is full and the server sends no more.
    ///
    /// Nothing is held in a session that was not resumed, nor at QoS 0, where there is no acknowledgement to withhold: such
    /// messages go to [`Client::messages`](crate::Client::messages) at once.
    #[must_use]
    pub fn claim_within(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.core.claim_within = limit.into();
        self
    }

    /// Bounds of the queue behind [`Client::messages`](crate::Client::messages), those messages included that are
    /// [held](Self::claim_within) for a stream. Default: [`QueueOptions::LATEST`], the latest 100,000 messages and 64 MiB,
    /// since a program need not read it, and one that [waits](crate::Overflow::Wait) and is not read would hold up every
    /// stream. A program that reads it and must not lose any gives [`QueueOptions::DEFAULT`].
    #[must_use]
    pub const fn incoming(mut self, bounds: QueueOptions) -> Self {
        self.core.incoming = bounds;
        self
    }

    /// What becomes of a QoS 2 message on its way when the server has lost the session. Default:
    /// [`PublishError::SessionLost`](crate::PublishError::SessionLost), so that nothing comes twice.
    #[must_use]
    pub const fn on_session_lost(mut self, choice: OnSessionLost) -> Self {
        self.core.on_session_lost = choice;
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

    /// Whether the session is of no use once the application disconnects, though the server would keep it.
    pub(crate) fn ends_session(&self) -> bool {
        self.core.ends_session()
    }

    /// What answers the server's AUTH packets, for one connection.
    pub(crate) fn authentication(&self) -> Option<Authentication> {
        self.authentication.clone().map(Authentication::new)
    }

    /// Who is asked for credentials at each attempt. What is not given is as in `core`, which was made of these options.
    pub(crate) fn credentials_source(&self, core: &proto::Options) -> Option<Source> {
        let provider = Arc::clone(self.credentials.as_ref()?);
        Some(Source {
            provider,
            user_name: core.user_name.clone(),
            password: core.password.clone(),
        })
    }

    /// What opens transports, checked: what TLS needs is read here.
    pub(crate) async fn connector(&self) -> Result<Connector, OptionsError> {
        self.transport.connector().await
    }

    /// The options of the core, checked.
    pub(crate) fn to_core(&self) -> Result<proto::Options, OptionsError> {
        self.refused.check()?;
        let mut core = self.core.clone();
        core.client_identifier = text("the Client Identifier", &self.client_identifier)?;
        core.user_name = (self.user_name.as_ref())
            .map(|user_name| text("the User Name", user_name))
            .transpose()?;
        core.will = self.will.clone().map(Will::into_core).transpose()?;
        core.keep_session();
        if core.clean_start == CleanStart::Never && core.client_identifier.is_empty() {
            return Err(proto::OptionsError::IdentifierNeeded.into());
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
                return Err(proto::OptionsError::Property(error).into());
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
            let needed = OptionsError::Invalid(proto::OptionsError::IdentifierNeeded);
            assert_eq!(nameless.to_core().unwrap_err(), needed);
            nameless.client_identifier("station-7").to_core().unwrap();
        }
    }

    #[test]
    fn what_only_5_0_has_is_refused_by_name_before_it() {
        let old = Options::new("localhost", 1883).protocol(ProtocolVersion::V311);
        for (options, name) in [
            (
                old.clone().session_expiry_interval(Duration::from_secs(1)),
                "session_expiry_interval",
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
