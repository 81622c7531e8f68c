//! The far side of the benchmarks: just enough of an MQTT 3.1.1 and 5.0 Server, on blocking
//! sockets and with packets encoded ahead of time, so that the client is what is measured.
//!
//! It listens on a free port of 127.0.0.1, prints that port as its first line, and serves one
//! connection after another until its standard input closes. Each connection ends with one line
//! of JSON on standard output: what arrived, what was sent, or what went wrong.

mod arguments;
mod sequence;
mod sink;
mod source;
mod wire;

use std::env;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{self, ExitCode};
use std::thread;
use std::time::Duration;

use arguments::Mode;

/// No benchmark leaves a connection silent for this long: a stuck client must not hold us forever.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mode = match arguments::parse(env::args().skip(1)) {
        Ok(mode) => mode,
        Err(message) => {
            eprintln!("ferromqtt-bench-peer: {message}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(&mode) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ferromqtt-bench-peer: cannot serve on 127.0.0.1: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: &Mode) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    print_line(&listener.local_addr()?.port().to_string())?;
    thread::spawn(exit_when_stdin_closes);
    loop {
        let (stream, _) = listener.accept()?;
        // One bad connection is that client's failure, not the end of the server.
        match serve(mode, &stream) {
            Ok(report) => print_line(&report)?,
            Err(error) => print_line(&format!("{{\"error\":{:?}}}", error.to_string()))?,
        }
    }
}

fn serve(mode: &Mode, stream: &TcpStream) -> io::Result<String> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    stream.set_write_timeout(Some(SILENCE_LIMIT))?;
    match mode {
        Mode::Sink => sink::serve(stream),
        Mode::Source(plan) => source::serve(stream, plan),
    }
}

fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Whoever started us keeps our standard input open; when it goes away, so do we.
fn exit_when_stdin_closes() {
    let mut discarded = [0; 64];
    let mut stdin = io::stdin().lock();
    while matches!(stdin.read(&mut discarded), Ok(count) if count > 0) {}
    process::exit(0);
}
