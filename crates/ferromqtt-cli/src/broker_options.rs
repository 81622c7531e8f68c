//! What can be set on `ferromqtt broker`: the names are those of [`BrokerOptions`], with dashes.

use std::num::{NonZeroU16, NonZeroU32};

use clap::{ArgAction, Args};
use ferromqtt_proto::{QoS, ReasonCode, TopicFilter, Utf8String};
use ferromqtt_testing::{BrokerOptions, BrokerOptionsError, User};

/// Arguments of the command; what is not given stays as `BrokerOptions` has it.
#[derive(Args, Debug)]
#[command(next_help_heading = "Who may do what")]
pub(crate) struct OptionArguments {
    /// Let in who has this User Name and Password; may be repeated. Without it, everybody may connect
    ///
    /// Other users of this machine can read a command line: take a password that is used for nothing else.
    #[arg(long = "user", value_name = "NAME:PASSWORD")]
    users: Vec<Login>,

    /// Refuse a Client Identifier, or with * at its end all that begin so; may be repeated
    ///
    /// The answer is Not authorized (0x87), or the Reason Code in front: 0x89:* is busy for everybody.
    #[arg(long, value_name = "[CODE:]CLIENT", value_parser = denial)]
    deny_connect: Vec<Denial>,

    /// Refuse messages to topics that match; may be repeated
    ///
    /// The answer is Not authorized (0x87), or the Reason Code in front, as in 0x97:full/#.
    #[arg(long, value_name = "[CODE:]FILTER", value_parser = denial)]
    deny_publish: Vec<Denial>,

    /// Refuse subscriptions to a Topic Filter and to a part of it; may be repeated
    ///
    /// The answer is Not authorized (0x87), or the Reason Code in front.
    #[arg(long, value_name = "[CODE:]FILTER", value_parser = denial)]
    deny_subscribe: Vec<Denial>,

    /// Send every client to another server
    #[arg(long, value_name = "HOST:PORT", value_parser = text)]
    server_reference: Option<Utf8String>,

    /// Send it there forever: Server moved instead of Use another server
    #[arg(long, requires = "server_reference")]
    server_moved: bool,

    #[command(flatten)]
    limits: LimitArguments,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitArguments {
    /// Largest QoS of messages and subscriptions
    #[arg(long, value_name = "QOS", value_parser = qos)]
    maximum_qos: Option<QoS>,

    /// Whether messages can be retained
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    retain_available: Option<bool>,

    /// Whether Topic Filters may have wildcards
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    wildcard_subscription_available: Option<bool>,

    /// Whether there are Shared Subscriptions
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    shared_subscription_available: Option<bool>,

    /// Whether there are Subscription Identifiers
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    subscription_identifier_available: Option<bool>,

    /// How many QoS 2 messages a client of 5.0 may have unreleased
    #[arg(long, value_name = "COUNT")]
    receive_maximum: Option<NonZeroU16>,

    /// How many QoS 1 and 2 messages are in flight to a client of 3.x
    #[arg(long, value_name = "COUNT")]
    inflight_window: Option<NonZeroU16>,

    /// Largest packet from a client
    #[arg(long, value_name = "BYTES")]
    maximum_packet_size: Option<NonZeroU32>,

    /// Largest packet from a client other than PUBLISH
    #[arg(long, value_name = "BYTES")]
    maximum_non_publish_size: Option<NonZeroU32>,

    /// Up to which number clients of 5.0 may use Topic Aliases
    #[arg(long, value_name = "COUNT")]
    topic_alias_maximum: Option<u16>,

    /// How many Topic Aliases the broker assigns to a client that takes some
    #[arg(long, value_name = "COUNT")]
    topic_aliases_out: Option<u16>,

    /// Keep Alive for clients of 5.0, whatever they ask for
    #[arg(long, value_name = "SECONDS")]
    server_keep_alive: Option<u16>,

    /// Longest Session Expiry Interval of clients of 5.0
    #[arg(long, value_name = "SECONDS")]
    maximum_session_expiry_interval: Option<u32>,

    /// Whether a client without a Client Identifier is given one
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    assign_client_identifiers: Option<bool>,

    /// Response Information for clients that ask for it
    #[arg(long, value_name = "TEXT", value_parser = text)]
    response_information: Option<Utf8String>,

    /// How many connections have a client; more are refused
    #[arg(long, value_name = "COUNT")]
    maximum_connections: Option<usize>,

    /// How many sessions there are, connected or not; more are refused
    #[arg(long, value_name = "COUNT")]
    maximum_sessions: Option<usize>,

    /// How much memory all sessions take; messages beyond it are dropped and counted, the rest is refused
    #[arg(long, value_name = "BYTES")]
    maximum_session_bytes: Option<usize>,

    /// How many subscriptions one session has; more are refused
    #[arg(long, value_name = "COUNT")]
    maximum_subscriptions: Option<usize>,

    /// How many messages wait for one session; more are dropped and counted
    #[arg(long, value_name = "COUNT")]
    maximum_queued_messages: Option<usize>,

    /// How much memory the messages take that wait for one session or are in flight; more are dropped and counted
    #[arg(long, value_name = "BYTES")]
    maximum_queued_bytes: Option<usize>,

    /// How many topics have a retained message; more are refused, or dropped and counted
    #[arg(long, value_name = "COUNT")]
    maximum_retained_messages: Option<usize>,

    /// How much memory retained messages take; more are refused, or dropped and counted
    #[arg(long, value_name = "BYTES")]
    maximum_retained_bytes: Option<usize>,

    /// How many bytes wait for a client that does not read
    #[arg(long, value_name = "BYTES")]
    maximum_output: Option<usize>,
}

/// What stands behind `--user`, unparsed: the parser's own errors would show it.
#[derive(Clone)]
struct Login(String);

impl From<String> for Login {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<hidden>")
    }
}

/// A Reason Code, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Denial {
    reason: ReasonCode,
    what: String,
}

impl OptionArguments {
    /// The broker's options, or what is wrong with the arguments.
    pub(crate) fn options(&self) -> Result<BrokerOptions, String> {
        let mut options = BrokerOptions::default();
        for Login(login) in &self.users {
            let (name, password) = (login.split_once(':'))
                .ok_or("--user must read NAME:PASSWORD, with a colon between the two")?;
            options.users.push(User::new(name, password));
        }
        for Denial { reason, what } in &self.deny_connect {
            let result = options.deny_connect(what, *reason);
            result.map_err(|error| wrong("--deny-connect", &error))?;
        }
        for Denial { reason, what } in &self.deny_publish {
            let result = options.deny_publish(filter("--deny-publish", what)?, *reason);
            result.map_err(|error| wrong("--deny-publish", &error))?;
        }
        for Denial { reason, what } in &self.deny_subscribe {
            let result = options.deny_subscribe(filter("--deny-subscribe", what)?, *reason);
            result.map_err(|error| wrong("--deny-subscribe", &error))?;
        }
        options.server_reference.clone_from(&self.server_reference);
        options.server_moved = self.server_moved;
        self.limits.set(&mut options);
        Ok(options)
    }
}

impl LimitArguments {
    fn set(&self, options: &mut BrokerOptions) {
        macro_rules! set {
            ($($name:ident),+) => { $(if let Some(value) = self.$name { options.$name = value; })+ };
        }
        set!(
            maximum_qos,
            retain_available,
            wildcard_subscription_available,
            shared_subscription_available,
            subscription_identifier_available,
            receive_maximum,
            inflight_window,
            maximum_packet_size,
            maximum_non_publish_size,
            topic_alias_maximum,
            topic_aliases_out,
            maximum_session_expiry_interval,
            assign_client_identifiers,
            maximum_connections,
            maximum_sessions,
            maximum_session_bytes,
            maximum_subscriptions,
            maximum_queued_messages,
            maximum_queued_bytes,
            maximum_retained_messages,
            maximum_retained_bytes,
            maximum_output
        );
        options.server_keep_alive = self.server_keep_alive;
        (options.response_information).clone_from(&self.response_information);
    }
}

fn wrong(argument: &str, error: &BrokerOptionsError) -> String {
    format!("{argument}: {error}")
}

fn filter(argument: &str, text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| format!("{argument}: {text:?}: {error}"))
}

fn qos(text: &str) -> Result<QoS, String> {
    let qos = text.parse().ok().and_then(QoS::from_value);
    qos.ok_or_else(|| "give 0, 1 or 2".to_owned())
}

fn text(text: &str) -> Result<Utf8String, String> {
    Utf8String::try_from(text).map_err(|error| error.to_string())
}

/// Reads `0x87:what`, or `what` alone for Not authorized.
fn denial(text: &str) -> Result<Denial, String> {
    let (code, what) = match text.split_once(':') {
        Some((code, what)) if code.starts_with("0x") => (code, what),
        _ => ("0x87", text),
    };
    let reason = u8::from_str_radix(code.trim_start_matches("0x"), 16)
        .ok()
        .and_then(ReasonCode::from_value)
        .ok_or_else(|| format!("{code} is no Reason Code of MQTT 5.0: give one like 0x87"))?;
    let what = what.to_owned();
    Ok(Denial { reason, what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_is_not_authorized_unless_a_code_stands_before_it() {
        for (text, reason, what) in [
            ("a/#", ReasonCode::NotAuthorized, "a/#"),
            ("a:b", ReasonCode::NotAuthorized, "a:b"),
            ("0x97:a:b", ReasonCode::QuotaExceeded, "a:b"),
        ] {
            let what = what.to_owned();
            assert_eq!(denial(text), Ok(Denial { reason, what }));
        }
        for text in ["0x05:a", "0x:a", "0xfff:a"] {
            assert!(denial(text).is_err(), "{text}");
        }
    }
}
