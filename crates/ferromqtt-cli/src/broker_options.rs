//! What can be set on `ferromqtt broker`: the names are those of [`BrokerOptions`], with dashes.

use clap::Args;
use ferromqtt_proto::{ReasonCode, TopicFilter, Utf8String};
use ferromqtt_testing::{BrokerOptions, BrokerOptionsError, User};

use crate::limit_arguments::{LimitArguments, text};

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
        let mut options = self.limits.options().clone();
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
        Ok(options)
    }
}

fn wrong(argument: &str, error: &BrokerOptionsError) -> String {
    format!("{argument}: {error}")
}

fn filter(argument: &str, text: &str) -> Result<TopicFilter, String> {
    TopicFilter::new(text).map_err(|error| format!("{argument}: {text:?}: {error}"))
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
