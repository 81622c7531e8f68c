//! Runs the real `ferromqtt broker`.

#![cfg(unix)] // it is stopped by signals

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ferromqtt_testing::recording::Recording;

const LIMIT: Duration = Duration::from_secs(20);

/// A `ferromqtt` process, killed at the end whatever happens.
struct TestEnv {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl TestEnv {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Self { child, stdout }
    }

    /// The first line; a process that ends instead gives an empty one.
    fn first_line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for its end; returns the exit code and what it wrote to standard error.
    fn wait(&mut self) -> (Option<i32>, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(start.elapsed() < LIMIT, "the process does not end");
            thread::sleep(Duration::from_millis(5));
        };
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (status.code(), log)
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ferromqtt"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn port_of(url: &str) -> u16 {
    url.strip_prefix("mqtt://127.0.0.1:")
        .and_then(|port| port.parse().ok())
        .unwrap_or_else(|| panic!("a URL expected, got {url:?}"))
}

/// Connects, and expects CONNACK with Return Code 0.
fn connect(port: u16) -> TcpStream {
    let (stream, connack) = exchange(port, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a", 4);
    assert_eq!(connack, b"\x20\x02\x00\x00");
    stream
}

/// Sends bytes on a new connection and reads so many.
fn exchange(port: u16, sent: &[u8], length: usize) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(sent).unwrap();
    let mut received = vec![0; length];
    stream.read_exact(&mut received).unwrap();
    (stream, received)
}

#[test]
fn the_first_line_is_a_url_that_answers_and_signals_end_it_with_code_0() {
    for signal in ["TERM", "INT"] {
        let mut broker = TestEnv::start(&["broker"]);
        let port = port_of(&broker.first_line());
        let mut client = connect(port);
        broker.signal(signal);
        let (code, log) = broker.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains(signal), "{log}");
        assert_eq!(
            client.read(&mut [0]).unwrap(),
            0,
            "the connection ends with it"
        );
    }
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let mut broker = TestEnv::start(&["broker"]);
    let port = port_of(&broker.first_line()).to_string();
    let output = run(&["broker", "--port", &port]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert_eq!(output.stdout, b"");
    assert!(
        log.contains(&format!("127.0.0.1:{port}")) && log.contains("--port"),
        "{log}"
    );
}

#[test]
fn a_given_port_is_the_port_it_listens_on() {
    let mut first = TestEnv::start(&["broker"]);
    let port = port_of(&first.first_line());
    first.signal("TERM");
    assert_eq!(first.wait().0, Some(0));
    let mut second =
        TestEnv::start(&["broker", "--host", "127.0.0.1", "--port", &port.to_string()]);
    assert_eq!(port_of(&second.first_line()), port);
    connect(port);
}

#[test]
fn users_and_denials_of_the_command_line_hold() {
    let mut broker = TestEnv::start(&[
        "broker",
        "--user",
        "ann:one:two",
        "--deny-connect",
        "0x89:busy*",
    ]);
    let port = port_of(&broker.first_line());
    for (login, code) in [
        (&b"\x00\x01a\x00\x03ann\x00\x07one:two"[..], 0),
        (b"\x00\x01a\x00\x03ann\x00\x07one:tw0", 4),
        (b"\x00\x05busy1\x00\x03ann\x00\x03one", 3),
    ] {
        let mut connect = vec![0x10, 10 + u8::try_from(login.len()).unwrap()];
        connect.extend_from_slice(b"\x00\x04MQTT\x04\xc2\x00\x00");
        connect.extend_from_slice(login);
        let (_, connack) = exchange(port, &connect, 4);
        assert_eq!(connack, [0x20, 2, 0, code]);
    }
}

/// A file of rules, removed at the end.
struct FaultsFile(PathBuf);

impl FaultsFile {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("ferromqtt-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for FaultsFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn faults_of_a_file_happen_and_the_end_names_those_that_did_not() {
    let file = FaultsFile::new(
        "faults",
        "[[fault]]\nreceives = 'CONNECT'\nclient = 'a'\ndo = 'refuse 0x89'\n\n[[fault]]\nsends = 'PUBACK'\nnth = 3\ndo = 'lose'\n",
    );
    let mut broker = TestEnv::start(&["broker", "--faults", file.path()]);
    let port = port_of(&broker.first_line());
    let (_, connack) = exchange(port, b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a", 4);
    assert_eq!(connack, b"\x20\x02\x00\x03"); // Server unavailable
    connect(port);
    broker.signal("TERM");
    let (code, log) = broker.wait();
    assert_eq!(code, Some(0), "{log}");
    let unused = "ferromqtt: a fault never happened: sends PUBACK nth 3 lose";
    assert!(log.contains(unused), "{log}");
}

#[test]
fn a_mistake_in_a_file_of_faults_is_named_with_its_line() {
    let file = FaultsFile::new(
        "mistake",
        "[[fault]]\nsends = 'PUBACK'\nnht = 3\ndo = 'lose'\n",
    );
    let output = run(&["broker", "--faults", file.path()]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    let expected = format!(
        "ferromqtt: cannot read the faults in {}: line 3: nht is no key of a fault",
        file.path()
    );
    assert!(log.starts_with(&expected), "{log}");
}

#[test]
fn what_the_broker_records_is_a_recording_with_payloads_on_request() {
    for payloads in [false, true] {
        let name = format!("{}-{payloads}.mqttlog", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = path.to_str().unwrap();
        let mut arguments = vec!["broker", "--record", file];
        arguments.extend(payloads.then_some("--record-payloads"));
        let mut broker = TestEnv::start(&arguments);
        let mut client = connect(port_of(&broker.first_line()));
        client
            .write_all(b"\x32\x07\x00\x01t\x00\x07hi\xc0\x00")
            .unwrap();
        let mut answers = [0; 6];
        client.read_exact(&mut answers).unwrap(); // PUBACK and PINGRESP: both packets have gone by
        broker.signal("TERM");
        assert_eq!(broker.wait().0, Some(0));

        let recording = Recording::read(&path).unwrap();
        assert_eq!(recording.has_payloads(), payloads);
        let shown = recording.show();
        let payload = match payloads {
            true => "payload 2 bytes \"hi\"",
            false => "payload 2 bytes hash 08ba5f07b55ec3da",
        };
        let publish = format!("-> PUBLISH topic \"t\", qos 1, packet_id 7, {payload}");
        for part in [&*publish, "<- PUBACK packet_id 7", "-- closed by the"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        std::fs::remove_file(path).unwrap();
    }
}

/// Whoever starts a second broker by mistake does not lose the recording of the first.
#[test]
fn a_broker_that_cannot_listen_leaves_the_file_of_a_recording_alone() {
    let mut broker = TestEnv::start(&["broker"]);
    let port = port_of(&broker.first_line()).to_string();
    let name = format!("{}-kept.mqttlog", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, "an earlier recording").unwrap();
    let output = run(&[
        "broker",
        "--port",
        &port,
        "--record",
        path.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(1));
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept, "an earlier recording");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn limits_of_the_command_line_are_told_in_connack() {
    let mut broker = TestEnv::start(&[
        "broker",
        "--maximum-qos=1",
        "--retain-available=false",
        "--server-keep-alive=7",
        "--topic-alias-maximum=3",
    ]);
    let port = port_of(&broker.first_line());
    let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a";
    let expected = b"\x20\x0d\x00\x00\x0a\x13\x00\x07\x22\x00\x03\x24\x01\x25\x00";
    let (_, connack) = exchange(port, connect, expected.len());
    assert_eq!(connack, expected);
}

#[test]
fn bounds_of_the_command_line_hold_and_the_end_says_what_they_cost() {
    for bound in ["connections", "sessions", "session-bytes"] {
        let mut broker = TestEnv::start(&["broker", &format!("--maximum-{bound}=0")]);
        let port = port_of(&broker.first_line());
        let connect = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01a";
        let (_, connack) = exchange(port, connect, 5);
        assert_eq!(connack, b"\x20\x03\x00\x97\x00", "{bound}");
        broker.signal("TERM");
        let (_, log) = broker.wait();
        assert!(log.contains("1 requests were refused"), "{log}");
    }
}

#[test]
fn a_password_is_not_repeated_in_an_error() {
    let output = run(&["broker", "--user", "s3cret"]);
    assert_eq!(output.status.code(), Some(2));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(
        log.contains("NAME:PASSWORD") && !log.contains("s3cret"),
        "{log}"
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_help_says_what_there_is() {
    for arguments in [
        &["broker", "--port", "70000"][..],
        &["broker", "--host", "nowhere"],
        &["broker", "--maximum-qos", "3"],
        &["broker", "--receive-maximum", "0"],
        &["broker", "--retain-available", "perhaps"],
        &["broker", "--deny-publish", "a/#/b"],
        &["broker", "--deny-publish", "0x10:a"],
        &["broker", "--deny-subscribe", "0x99:a"],
        &["broker", "--deny-connect", "0x05:a"],
        &["broker", "--server-moved"],
        &["broker", "--record-payloads"],
        &["brokr"],
        &[],
    ] {
        assert_eq!(run(arguments).status.code(), Some(2), "{arguments:?}");
    }
    let help = run(&["broker", "--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for part in [
        "--host",
        "--port",
        "--record",
        "--maximum-qos",
        "Not for production",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
}
