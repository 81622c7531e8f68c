//! `ferromqtt broker`.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ferromqtt_testing::recording::{RecordedPayloads, Recorder};
use ferromqtt_testing::{BrokerOptions, FaultRule, TestBroker};
use tokio::signal;

/// What a broker is run with.
pub(crate) struct BrokerRun {
    pub(crate) address: SocketAddr,
    pub(crate) options: BrokerOptions,
    pub(crate) faults: Vec<FaultRule>,
    /// The file to record to.
    pub(crate) record: Option<PathBuf>,
    /// What is recorded of what belongs to the application.
    pub(crate) payloads: RecordedPayloads,
}

/// Runs the broker until a signal comes.
pub(crate) fn run(mut with: BrokerRun) -> Result<(), String> {
    with.options.journal_packets = Some(0); // nobody could look at it
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the event loop: {error}"))?;
    runtime.block_on(serve(with))
}

async fn serve(with: BrokerRun) -> Result<(), String> {
    let BrokerRun {
        address,
        options,
        faults,
        record,
        payloads,
    } = with;
    // Before the URL is out: who reads it may send the signal at once.
    let stop_asked = stop_asked().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let broker = TestBroker::bind(address, options)
        .await
        .map_err(|error| {
            format!("cannot listen on {address}: {error}; choose another --port (0 takes a free one) or --host")
        })?;
    for rule in faults {
        (broker.add_fault(rule)).map_err(|error| format!("cannot add a fault: {error}"))?; // they were checked
    }
    // Behind all that can be wrong, such as an address in use: the file of an earlier recording is left alone then.
    let recorder = match &record {
        Some(file) => Some(start_recording(&broker, file, payloads)?),
        None => None,
    };
    print_line(&broker.url()).map_err(|error| format!("cannot print the URL: {error}"))?;
    eprintln!(
        "ferromqtt: test broker listens on {}, stop it with Ctrl-C",
        broker.url()
    );
    let signal = stop_asked.await;
    let stats = broker.stats();
    for rule in broker.explain_unused_faults() {
        eprintln!("ferromqtt: a fault never happened: {rule}");
    }
    broker.stop().await;
    eprintln!(
        "ferromqtt: stopped by {signal}, {} messages were dropped, {} requests were refused at a limit",
        stats.dropped, stats.refused
    );
    if let (Some(file), Some(recorder)) = (&record, recorder) {
        let name = file.display();
        let written = recorder.finish();
        written.map_err(|error| format!("cannot write the recording {name}: {error}"))?;
    }
    Ok(())
}

fn start_recording(
    broker: &TestBroker,
    file: &Path,
    payloads: RecordedPayloads,
) -> Result<Recorder, String> {
    let name = file.display();
    let recorder = Recorder::to_file(file, payloads)
        .map_err(|error| format!("cannot make the recording {name}: {error}"))?;
    broker.record(recorder.clone());
    Ok(recorder)
}

/// Prints at once, also into a pipe.
fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Listens for the signals from now on; the future gives the name of the first.
#[cfg(unix)]
fn stop_asked() -> io::Result<impl Future<Output = &'static str>> {
    use signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

/// Listens for Ctrl-C.
#[cfg(not(unix))]
fn stop_asked() -> io::Result<impl Future<Output = &'static str>> {
    Ok(async {
        let _ = signal::ctrl_c().await; // an error means that it can never come: then stopping is right
        "Ctrl-C"
    })
}
