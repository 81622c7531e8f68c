//! The far side of the benchmarks: just enough of an MQTT 3.1.1 and 5.0 Server, on blocking
//! sockets and with packets encoded ahead of time, so that the client is what is measured.
//!
//! It listens on a free port of 127.0.0.1, prints that port as its first line, and serves one
//! connection after another until its standard input closes. Each connection ends with one line
//! of JSON on standard output: what arrived, what was sent, or what went wrong.

mod arguments;
mod gate;
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
use gate::Gate;

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
    let gate = match mode {
        Mode::Gate => Gate::closed(),
        Mode::Sink | Mode::Source(_) => Gate::open(),
    };
    let reads = gate.clone();
    thread::spawn(move || exit_when_stdin_closes(&reads));
    loop {
        let (stream, _) = listener.accept()?;
        // One bad connection is that client's failure, not the end of the server.
        match serve(mode, &stream, &gate) {
            Ok(report) => print_line(&report)?,
            Err(error) => print_line(&format!("{{\"error\":{:?}}}", error.to_string()))?,
        }
    }
}

fn serve(mode: &Mode, stream: &TcpStream, gate: &Gate) -> io::Result<String> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE_LIMIT))?;
    stream.set_write_timeout(Some(SILENCE_LIMIT))?;
    match mode {
        Mode::Sink | Mode::Gate => sink::serve(stream, gate),
        Mode::Source(plan) => source::serve(stream, plan),
    }
}

fn print_line(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Whoever started us keeps our standard input open; when it goes away, so do we. What is written to it are numbers of 8 bytes,
/// the first the highest: how many messages may be acknowledged.
fn exit_when_stdin_closes(gate: &Gate) {
    let mut number = [0; 8];
    let mut stdin = io::stdin().lock();
    while stdin.read_exact(&mut number).is_ok() {
        gate.allow(u64::from_be_bytes(number));
    }
    process::exit(0);
}
