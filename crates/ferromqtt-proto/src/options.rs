//! The options of a client, by the standard's names.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use bytes::Bytes;

use crate::error::InvalidOptions;
use crate::packet::{PacketType, Properties, PropertyPlace, ProtocolVersion, Will};
use crate::profile::ServerProfile;
use crate::property_error::{PropertyError, PropertyProblem};
use crate::reconnect::Reconnect;
use crate::session::QueueOptions;
use crate::shown::Masked;
use crate::text::Utf8String;
use crate::topic::TopicName;

/// When CONNECT asks for a fresh session (section 3.1.2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CleanStart {
    /// At every connection.
    Always,
    /// At the first connection of a client; the ones made by reconnecting resume.
    /// On 3.x, where a clean session ends with its connection, this is the same as `Always`.
    #[default]
    FirstOnly,
    /// Never: resume whatever session the server has. What it has stored comes at once, and is held until it is
    /// [claimed](Options::claim_within).
    ///
    /// A session is found by its Client Identifier, so give one. Without one 3.1 and 3.1.1 refuse it. On 5.0 the server
    /// assigns one (MQTT-3.2.2-16), by which a [`Client`](crate::Client) resumes the session each time it connects again; but
    /// the next program does not know it. A driver that makes a `Client` for each connection refuses that too.
    Never,
}

/// What becomes of a QoS 2 publish whose outcome is unknown when the server has lost the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSessionLost {
    /// The publish ends with the outcome `SessionLost`: nothing comes twice.
    #[default]
    Report,
    /// It is published again: nothing is lost, but it may come twice.
    Resend,
}

/// What happens to a publish that would exceed the bounds of the outgoing queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutgoingPolicy {
    /// It is refused because the queue is full: the caller decides.
    Refuse,
    /// In `ferromqtt`, awaiting the publish or `Publish::enqueue` waits until the queue has capacity, and waiting calls are
    /// accepted in order; a call whose future is dropped while it waits publishes nothing.
    ///
    /// For drivers: the core refuses it as with [`Refuse`](Self::Refuse), and reports when to try again.
    #[default]
    Wait,
    /// The oldest messages that never were on the wire are dropped, as many as it takes: their publishes end with the outcome
    /// `Dropped`. When that would not do, the new one is dropped.
    DropOldest,
    /// It is accepted and dropped at once: the publish ends with the outcome `Dropped`.
    DropNewest,
}

/// Bounds of the queue of publishes that wait for a connection or for the server's window.
///
/// Set what differs from the default or from [`NONE`](Self::NONE), and take the rest from it: later versions may add fields.
///
/// ```
/// # use ferromqtt_proto::OutgoingLimits;
/// let few = OutgoingLimits { messages: Some(10), ..OutgoingLimits::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutgoingLimits {
    /// Messages; `None` is no limit. Counts waiting publishes of every QoS and unacknowledged ones of QoS 1 and 2.
    pub messages: Option<usize>,
    /// Bytes of memory that the same messages take: topics, payloads and properties, and 128 bytes for each; `None` is no
    /// limit. Of a QoS 2 message that the server has
    /// (PUBREC came) only the 128 are left. A payload that is a slice of larger memory keeps all of that alive, which is not
    /// counted: [detach](crate::Message::detach) received messages before you publish them again.
    pub bytes: Option<usize>,
}

impl OutgoingLimits {
    /// No limit at all.
    pub const NONE: Self = Self {
        messages: None,
        bytes: None,
    };
}

impl Default for OutgoingLimits {
    /// 1,000 messages and 16 MiB.
    fn default() -> Self {
        Self {
            messages: Some(1_000),
            bytes: Some(16 << 20),
        }
    }
}

/// 1 MiB.
const MAXIMUM_NON_PUBLISH_SIZE: NonZeroU32 = NonZeroU32::new(1 << 20).unwrap();

/// Everything a [`Client`](crate::Client) needs to know. Its `Debug` never shows the password.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Version of MQTT. Default: 5.0.
    pub protocol: ProtocolVersion,
    /// Whether a server that does not speak 5.0 is tried again with 3.1.1, at once and without counting as a failed attempt.
    /// Only with [`protocol`](Self::protocol) 5.0. Default: `false`.
    ///
    /// A server does not speak 5.0 if it answers CONNECT by Unsupported Protocol Version, in the form of either version, or
    /// ends the transport without an answer. A fault of the network looks like the latter, so a server is taken to speak only
    /// 3.1.1 when it has accepted that, and then, unless it has said so itself, has done so a second time. It is spoken to in
    /// that version from then on, until it refuses that. A server that has accepted 5.0 is tried in 3.1.1 only if it says that
    /// it does not speak 5.0 any more.
    ///
    /// Options that only 5.0 has are used where it is spoken, and left out otherwise: properties of CONNECT and of the will,
    /// [`topic_aliases_out`](Self::topic_aliases_out), [`response_topic`](Self::response_topic) and
    /// [`follow_server_reference`](Self::follow_server_reference). What a caller relies on is refused in either version: a
    /// password without a user name, and a kept session without a Client Identifier. So is an Authentication Method: whoever
    /// can change what is on the wire could turn it off. A message, a subscription or a request that was accepted while there
    /// was no connection, and that 3.1.1 cannot express, ends when it is to be sent.
    pub fall_back: bool,
    /// Whether a subscription is made without what a version before 5.0 has not: its properties, and its options but the QoS.
    /// Otherwise it is refused there, or ends when it is to be sent. Default: `false`.
    pub reduce_subscriptions: bool,
    /// Client Identifier. Default: empty, which lets the server choose.
    pub client_identifier: Utf8String,
    /// Clean Start (5.0) or Clean Session (3.x). Default: [`CleanStart::FirstOnly`].
    pub clean_start: CleanStart,
    /// Keep Alive in seconds; 0 turns it off; a Server Keep Alive replaces it. It counts from CONNECT. After a PINGREQ the
    /// server has half of it to answer; see [`Client::transport_progress`](crate::Client::transport_progress). Default: 60.
    pub keep_alive: u16,
    /// CONNECT properties (5.0): Session Expiry Interval, Receive Maximum, Maximum Packet Size ... Default: none.
    pub properties: Properties,
    /// Session Expiry Interval for the DISCONNECT of the application (5.0, section 3.14.2.2.2), in seconds: how long the server
    /// keeps the session once the client has left, instead of what CONNECT said. It cannot be above 0 where that said 0, or
    /// nothing. Default: `None`, as CONNECT said.
    pub session_expiry_at_disconnect: Option<u32>,
    /// The will. Default: none.
    pub will: Option<Will>,
    /// User Name. Default: none.
    pub user_name: Option<Utf8String>,
    /// Password. Default: none.
    pub password: Option<Bytes>,
    /// Whether each attempt to connect has credentials of its own, which the driver
    /// [sets](crate::Client::set_credentials) before it opens the transport. An end for bad credentials is then tried again
    /// like any other, since the next ones may be better: a token may have expired. Default: `false`, it is final.
    pub fresh_credentials: bool,
    /// Time for opening the transport and for CONNACK together; `None` waits forever. Default: 10 s.
    pub connect_timeout: Option<Duration>,
    /// How many QoS 1 and 2 publishes may be unacknowledged, if that is less than the server's Receive Maximum. `None`: that
    /// alone, and before 5.0, where a server cannot say, 20: what mosquitto 2.0, which loses the QoS 2 messages beyond
    /// its limit when the connection is cut, takes by default. Default: `None`.
    pub max_in_flight: Option<NonZeroU16>,
    /// Bounds of the outgoing queue. Default: 1,000 messages and 16 MiB.
    pub outgoing: OutgoingLimits,
    /// What happens to a publish that would exceed these bounds. Default: [`OutgoingPolicy::Wait`].
    pub outgoing_policy: OutgoingPolicy,
    /// How many Topic Aliases to assign at most (5.0), beside the server's Topic Alias Maximum: a topic that is published
    /// to again is then left out. Default: 0, which assigns none.
    pub topic_aliases_out: u16,
    /// Where the responses to [requests](crate::Client::request) are sent (5.0): a topic that no other client subscribes to.
    /// Default: chosen by the client.
    pub response_topic: Option<TopicName>,
    /// Bounds of the default queue of received messages, those included that wait to be [claimed](Self::claim_within).
    /// Default: [`QueueOptions::LATEST`], of which the oldest leave: what comes there is what no other queue has asked for, so
    /// perhaps nobody reads it, and under [`Overflow::Wait`](crate::Overflow::Wait) it would in time hold up every other
    /// queue.
    pub incoming: QueueOptions,
    /// How many bytes a packet from the server may have. On 5.0 it is announced as Maximum Packet Size, in place of the one
    /// among [`properties`](Self::properties), and a larger packet ends the connection as a
    /// [protocol violation](crate::ConnectionError::ProtocolViolation) (MQTT-3.1.2-24). Earlier versions cannot announce it:
    /// there a larger packet ends the connection as [`ConnectionError::PacketTooLarge`](crate::ConnectionError::PacketTooLarge).
    /// Either is decided by the head of the packet. Default: `None`, that property, or what MQTT allows.
    pub maximum_packet_size: Option<NonZeroU32>,
    /// How many bytes a packet other than PUBLISH may have from the server, beside [`maximum_packet_size`]. A larger one is
    /// refused from its fixed header, and ends the connection as
    /// [`ConnectionError::NonPublishTooLarge`](crate::ConnectionError::NonPublishTooLarge). On 5.0 DISCONNECT says Quota
    /// exceeded: the server does not know this limit, so it has broken no rule.
    ///
    /// Such packets carry no Application Message: what makes one long is properties, or a Reason Code for each filter. CONNACK
    /// comes before the server has proved who it is, so what a stranger can have this client hold is bounded by this.
    /// Default: 1 MiB, enough for a User Property of the largest size and for a hundred thousand Reason Codes.
    ///
    /// [`maximum_packet_size`]: Self::maximum_packet_size
    pub maximum_non_publish_size: NonZeroU32,
    /// The service or server that is connected to, if it is one whose limits are known though it does not announce them.
    /// What it does not take is refused before anything is sent, and what contradicts these options by [`check`](Self::check).
    /// Limits of the CONNACK hold beside it. Default: `None`.
    pub profile: Option<ServerProfile>,
    /// How to reconnect; `None` never does. Default: `None`.
    pub reconnect: Option<Reconnect>,
    /// How many servers the driver's list has. They are tried in turn: the next one at once when an attempt has failed,
    /// until all have been tried; an attempt to [connect](crate::Client::connect) fails when all have. Default: 1.
    pub servers: NonZeroU16,
    /// Whether to connect to the server that another one refers to by Use another server or Server moved (5.0, section
    /// 4.11), with the same credentials: only for servers that you trust. When that connection ends, the list is used again.
    /// Default: `false`; the Server Reference is reported with the end of the connection.
    pub follow_server_reference: bool,
    /// What becomes of a QoS 2 publish in a lost session. Default: reported.
    pub on_session_lost: OnSessionLost,
    /// Whether a store keeps the session: a packet that depends on a change
    /// ([`JournalEntry::holds`](crate::JournalEntry::holds)) is then sent only when
    /// [`Client::journal_written`](crate::Client::journal_written) has said that the change is on record. Default: `false`.
    pub journal: bool,
    /// How long closing a transport may take when the application has given no limit: that a DISCONNECT is written which
    /// answers a server's mistake, and that the server closes its side. Default: 10 s.
    pub closing_timeout: Duration,
    /// Whether every rule that the server breaks ends the connection as a
    /// [protocol violation](crate::ConnectionError::ProtocolViolation). With `false` those are tolerated that real servers
    /// break and that lose, duplicate and misroute nothing: each [`Slip`](crate::Slip) says what is made of it. The first of
    /// its kind on a connection is reported as [`Event::Tolerated`](crate::Event::Tolerated), and
    /// [`Stats::tolerated`](crate::Stats::tolerated) counts them all. Which servers slip is listed in
    /// [docs/tolerance.md](https://github.com/ferromqtt/ferromqtt/blob/main/docs/tolerance.md). Default: `true`.
    pub strict: bool,
    /// How long messages that no queue has asked for are held, unacknowledged, for a queue to claim them; `None` is forever.
    /// Default: 30 s.
    ///
    /// This concerns QoS 1 and 2 messages of a session that the server has resumed (Session Present; MQTT 3.1 has no such
    /// flag, so there it is each session that was asked for), and those for the subscriptions of a
    /// [detached](crate::Client::detach_queue) queue. The time begins with CONNACK or with detaching, and a lost connection
    /// does not prolong it for a message that is held. It ends in one of three ways:
    ///
    /// - [`Client::subscribe`](crate::Client::subscribe): what is held and matches one of the filters moves to that queue,
    ///   in order of arrival, and is acknowledged by the rules of that queue. A message is claimed once: where several queues
    ///   match, the first that subscribes gets it.
    /// - [`Client::claim_default`](crate::Client::claim_default): the default queue gets everything, and nothing is held any
    ///   more.
    /// - The time passes: what is held goes to the default queue and is acknowledged as [`incoming`](Self::incoming) says. It
    ///   is reported as [`Event::Unclaimed`](crate::Event::Unclaimed) and counted in
    ///   [`Stats::unclaimed`](crate::Stats::unclaimed). Acknowledgements leave in order (MQTT-4.6.0-2), so one message that is
    ///   never claimed would hold up all behind it.
    ///
    /// Held messages count against the bounds of [`incoming`](Self::incoming). Beyond these the policy given there decides,
    /// and a loss is reported as [`Event::Lagged`](crate::Event::Lagged) for the default queue. They also count against our
    /// Receive Maximum.
    pub claim_within: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            protocol: ProtocolVersion::default(),
            fall_back: false,
            reduce_subscriptions: false,
            client_identifier: Utf8String::new(),
            clean_start: CleanStart::default(),
            keep_alive: 60,
            properties: Properties::default(),
            will: None,
            user_name: None,
            password: None,
            fresh_credentials: false,
            connect_timeout: Some(Duration::from_secs(10)),
            max_in_flight: None,
            outgoing: OutgoingLimits::default(),
            outgoing_policy: OutgoingPolicy::default(),
            topic_aliases_out: 0,
            response_topic: None,
            incoming: QueueOptions::LATEST,
            maximum_packet_size: None,
            maximum_non_publish_size: MAXIMUM_NON_PUBLISH_SIZE,
            profile: None,
            reconnect: None,
            servers: NonZeroU16::MIN,
            follow_server_reference: false,
            on_session_lost: OnSessionLost::default(),
            session_expiry_at_disconnect: None,
            journal: false,
            closing_timeout: Duration::from_secs(10),
            strict: true,
            claim_within: Some(Duration::from_secs(30)),
        }
    }
}

/// How long a server keeps the session while the client reconnects.
const SESSION_EXPIRY_SECONDS: u32 = 3_600;

impl Options {
    /// Asks the server (5.0) to keep the session for an hour while the client reconnects, unless the properties say how long,
    /// or no session is resumed ([`CleanStart::Always`]).
    pub fn keep_session(&mut self) {
        if self.protocol.is_v5() && self.clean_start != CleanStart::Always {
            let expiry = &mut self.properties.session_expiry_interval;
            expiry.get_or_insert(SESSION_EXPIRY_SECONDS);
        }
    }

    /// Whether the session is of no use once the application disconnects, though a server that was asked to
    /// [keep](Self::keep_session) it would: for the DISCONNECT. To be asked before that.
    pub fn ends_session(&self) -> bool {
        self.protocol.is_v5()
            && self.clean_start == CleanStart::FirstOnly
            && self.properties.session_expiry_interval.is_none()
    }

    /// Checks what can be checked before any connection.
    ///
    /// # Errors
    /// Each [`InvalidOptions`] names the field and what to do.
    pub fn check(&self) -> Result<(), InvalidOptions> {
        self.check_identifier()?;
        self.check_credentials(self.user_name.as_ref(), self.password.as_ref())?;
        check_length(
            "the will payload",
            self.will.as_ref().map(|will| &will.payload),
        )?;
        if let Some(will) = &self.will {
            TopicName::check(&will.topic).map_err(InvalidOptions::WillTopic)?;
        }
        self.check_properties()?;
        match self.profile {
            Some(profile) => Ok(profile.check_options(self)?),
            None => Ok(()),
        }
    }

    /// Whether CONNECT can hold these.
    pub(crate) fn check_credentials(
        &self,
        user_name: Option<&Utf8String>,
        password: Option<&Bytes>,
    ) -> Result<(), InvalidOptions> {
        let needs_user_name = self.fall_back || !self.protocol.is_v5();
        if password.is_some() && user_name.is_none() && needs_user_name {
            return Err(InvalidOptions::PasswordWithoutUserName);
        }
        check_length("the password", password)
    }

    fn check_identifier(&self) -> Result<(), InvalidOptions> {
        match self.protocol {
            ProtocolVersion::V31 if self.client_identifier.is_empty() => {
                Err(InvalidOptions::IdentifierNeeded)
            }
            ProtocolVersion::V5 if !self.fall_back => Ok(()),
            _ if self.client_identifier.is_empty() && self.clean_start == CleanStart::Never => {
                Err(InvalidOptions::IdentifierNeeded)
            }
            _ => Ok(()),
        }
    }

    fn check_properties(&self) -> Result<(), InvalidOptions> {
        let connect = PropertyPlace::of(PacketType::Connect);
        let will = self.will.as_ref().map(|will| &will.properties);
        if !self.protocol.is_v5() {
            self.check_before_v5()?;
            self.properties.check_absent(connect)?;
            return Ok(will.map_or(Ok(()), |will| will.check_absent(PropertyPlace::WILL))?);
        }
        if (self.response_topic.as_ref()).is_some_and(|topic| topic.as_str().starts_with("$share/"))
        {
            return Err(of_options("response_topic", PropertyProblem::SharedTopic));
        }
        self.properties.check(connect)?;
        if self.fall_back && self.properties.authentication_method.is_some() {
            let problem = PropertyProblem::NotWithFallback;
            return Err(connect.refuses("authentication_method", problem).into());
        }
        let properties = &self.properties;
        let is_raised = self.session_expiry_at_disconnect.unwrap_or(0) > 0;
        if is_raised && properties.session_expiry_interval.unwrap_or(0) == 0 {
            return Err(InvalidOptions::SessionExpiryRaised);
        }
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            let problem = PropertyProblem::Needs("authentication_method");
            return Err(connect.refuses("authentication_data", problem).into());
        }
        let Some(will) = will else {
            return Ok(());
        };
        if let Some(topic) = &will.response_topic
            && let Err(error) = TopicName::check(topic)
        {
            let problem = PropertyProblem::Topic(error); // MQTT-3.3.2-14
            return Err(PropertyPlace::WILL
                .refuses("response_topic", problem)
                .into());
        }
        Ok(will.check(PropertyPlace::WILL)?)
    }

    /// What only 5.0 can do, beside properties. Refused before it, since the application relies on it.
    const fn check_before_v5(&self) -> Result<(), InvalidOptions> {
        let option = match self {
            it if it.response_topic.is_some() => "response_topic",
            it if it.session_expiry_at_disconnect.is_some() => "session_expiry_at_disconnect",
            it if it.topic_aliases_out > 0 => "topic_aliases_out",
            it if it.follow_server_reference => "follow_server_reference",
            _ => return Ok(()),
        };
        Err(of_options(option, PropertyProblem::NotInThisVersion))
    }

    /// The properties of CONNECT.
    pub(crate) fn connect_properties(&self) -> Properties {
        let mut properties = self.properties.clone();
        if self.protocol.is_v5() {
            properties.maximum_packet_size = self.largest_packet();
        }
        properties
    }

    /// Whether the version of MQTT depends on the server.
    pub(crate) const fn falls_back(&self) -> bool {
        self.fall_back && self.protocol.is_v5()
    }

    /// How many bytes a packet from the server may have, if there is a limit.
    pub(crate) fn largest_packet(&self) -> Option<NonZeroU32> {
        (self.maximum_packet_size).or(self.properties.maximum_packet_size)
    }

    /// Whether the connection numbered `attempt` since `connect()` asks for a fresh session.
    pub(crate) const fn starts_clean(&self, first: bool) -> bool {
        match self.clean_start {
            CleanStart::Always => true,
            CleanStart::FirstOnly => first || !self.protocol.is_v5(),
            CleanStart::Never => false,
        }
    }
}

const fn of_options(option: &'static str, problem: PropertyProblem) -> InvalidOptions {
    InvalidOptions::Property(PropertyError::new("the options", option, problem))
}

fn check_length(what: &'static str, field: Option<&Bytes>) -> Result<(), InvalidOptions> {
    match field {
        Some(field) if field.len() > usize::from(u16::MAX) => Err(InvalidOptions::TooLong {
            what,
            bytes: field.len(),
        }),
        _ => Ok(()),
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("protocol", &self.protocol)
            .field("client_identifier", &self.client_identifier)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("user_name", &self.user_name)
            .field("password", &self.password.as_ref().map(|_| Masked))
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}
