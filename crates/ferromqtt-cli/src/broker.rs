//! `ferromqtt broker`.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;

use ferromqtt_testing::{BrokerOptions, FaultRule, TestBroker};
use tokio::signal;

/// Runs the broker until a signal comes.
pub(crate) fn run(
    address: SocketAddr,
    mut options: BrokerOptions,
    faults: Vec<FaultRule>,
) -> Result<(), String> {
    options.journal_packets = Some(0); // nobody could look at it
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the event loop: {error}"))?;
    runtime.block_on(serve(address, options, faults))
}

async fn serve(
    address: SocketAddr,
    options: BrokerOptions,
    faults: Vec<FaultRule>,
) -> Result<(), String> {
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
    print_line(&broker.url()).map_err(|error| format!("cannot print the URL: {error}"))?;
    eprintln!(
        "ferromqtt: test broker listens on {}, stop it with Ctrl-C",
        broker.url()
    );
    let signal = stop_asked.await;
    let stats = broker.stats();
    for rule in broker.unused_faults() {
        eprintln!("ferromqtt: a fault never happened: {rule}");
    }
    broker.stop().await;
    eprintln!(
        "ferromqtt: stopped by {signal}, {} messages were dropped, {} requests were refused at a limit",
        stats.dropped, stats.refused
    );
    Ok(())
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
