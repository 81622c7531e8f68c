//! What the user types.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::broker_options::OptionArguments;
use crate::outbox::OutboxCommand;
use crate::recording::RecordingCommand;

/// MQTT from the command line
#[derive(Debug, Parser)]
#[command(name = "ferromqtt", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker for tests and first steps, until Ctrl-C
    ///
    /// Speaks MQTT 3.1, 3.1.1 and 5.0, and keeps everything in memory. It prints its URL as the first line on standard
    /// output, and runs until SIGINT or SIGTERM.
    ///
    /// Not for production: unless told otherwise it asks nobody for a password, and it forgets everything when it ends.
    Broker(Box<BrokerArguments>),

    /// Look at recordings of MQTT sessions
    ///
    /// Clients and the test broker write them; docs/recordings.md says how.
    #[command(subcommand)]
    Recording(RecordingCommand),

    /// Look at a client's outbox, and change it
    ///
    /// An outbox is a folder in which a client keeps messages until they are
    /// acknowledged. PATH is that folder. Looking (ls, stat, check, export) locks
    /// and writes nothing, and the client goes on meanwhile. retry and drop ask
    /// the client while it has the outbox open, and change the folder themselves
    /// otherwise. import needs the folder for itself.
    ///
    /// Exit codes: 0 done; 1 not done or not all of it, the reason is on standard
    /// error; 2 wrong usage. check has codes of its own.
    ///
    /// docs/outbox-command-line.md has examples.
    #[command(subcommand, verbatim_doc_comment)]
    Outbox(OutboxCommand),
}

#[derive(Args, Debug)]
pub(crate) struct BrokerArguments {
    /// Address to listen on
    ///
    /// The default is reached from this machine only. With 0.0.0.0 the whole network can use the broker.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) host: IpAddr,

    /// Port to listen on; 0 takes a free one
    ///
    /// MQTT's own port is 1883.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,

    /// Make faults: the rules of a TOML file, a [[fault]] each
    ///
    /// For example sends = "PUBACK", nth = 3, do = "lose", each on a line of its own.
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,

    /// Record the packets of each connection to a file, which is made or emptied
    ///
    /// A line is written as its packet goes by. User Names, Passwords and Authentication Data are masked. For ferromqtt recording,
    /// and for replays.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Record payloads, Correlation Data and User Properties too, and not their lengths and hashes alone
    ///
    /// A recording with them can be replayed.
    #[arg(long, requires = "record")]
    pub(crate) record_payloads: bool,

    #[command(flatten)]
    pub(crate) options: OptionArguments,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_broker_listens_on_loopback_unless_told_otherwise() {
        let Command::Broker(options) = Cli::parse_from(["ferromqtt", "broker"]).command else {
            panic!("another command");
        };
        assert!(options.host.is_loopback());
        assert_eq!(options.port, 0);
    }
}
