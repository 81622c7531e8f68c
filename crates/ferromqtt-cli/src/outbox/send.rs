//! `ferromqtt outbox send`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ferromqtt::{Connection, Options, Outbox};
use ferromqtt_store::StoreReader;

use super::output::{OutboxEnd, count, print_done};
use crate::exit_code;

#[derive(Args, Debug)]
pub(crate) struct SendArguments {
    /// The folder of the outbox
    path: PathBuf,

    /// The server, such as mqtt://host or mqtts://user:password@host:8883
    ///
    /// With ?protocol=3.1.1 behind it that version is spoken, and not 5.0.
    url: String,

    /// How many seconds sending may take once there is a connection
    #[arg(
        short = 'W',
        long = "wait",
        value_name = "SECONDS",
        default_value_t = 60
    )]
    wait: u64,
}

/// Messages that a client would send, and messages in quarantine.
#[derive(Clone, Copy)]
struct ToSend {
    messages: u64,
    quarantined: u64,
}

impl ToSend {
    fn read(arguments: &SendArguments) -> Result<Self, OutboxEnd> {
        let stats = StoreReader::open(&arguments.path)?.stats();
        Ok(Self {
            messages: (stats.messages - stats.quarantined) as u64,
            quarantined: stats.quarantined as u64,
        })
    }
}

pub(crate) fn run(arguments: &SendArguments) -> Result<ExitCode, OutboxEnd> {
    super::expect_store(&arguments.path)?;
    let options = Options::from_url(&arguments.url)
        .map_err(|error| OutboxEnd::Failed(format!("{error}; give the URL of a server")))?;
    let before = ToSend::read(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| OutboxEnd::Failed(format!("cannot start: {error}")))?;
    runtime.block_on(send(options, arguments))?;
    let after = ToSend::read(arguments)?;
    let ended = before.messages.saturating_sub(after.messages);
    let kept = after.quarantined.saturating_sub(before.quarantined);
    let line = match kept {
        0 => format!("{} ended, {} left", count(ended, "message"), after.messages),
        kept => format!(
            "{} ended, {kept} of them in quarantine, {} left",
            count(ended, "message"),
            after.messages
        ),
    };
    print_done(&line)?;
    Ok(match after.messages == 0 && kept == 0 {
        true => exit_code::SUCCESS,
        false => exit_code::FAILURE,
    })
}

/// Connects as the client whose outbox it is, and sends what waits, for as long as that may take.
async fn send(options: Options, arguments: &SendArguments) -> Result<(), OutboxEnd> {
    let outbox = Outbox::new(&arguments.path)
        .max_messages(None)
        .max_bytes(None);
    let connection = Connection::open(options.outbox(outbox)).await;
    let connection = connection.map_err(|error| OutboxEnd::Failed(error.to_string()))?;
    let drained = connection.drain(Duration::from_secs(arguments.wait)).await;
    (drained.end).map_err(|error| OutboxEnd::Failed(format!("the connection ended: {error}")))
}
