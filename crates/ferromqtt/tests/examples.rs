//! The programs in `examples/rust` print what their heads say.
//!
//! `cargo test` builds them; with `--test examples` it does not: `cargo build --examples --all-features` comes first then.
#![cfg(feature = "tls")]

#[path = "scenarios/certificates.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod certificates;
#[cfg(all(feature = "websocket", unix))]
#[path = "scenarios/mosquitto_process.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod mosquitto_process;
#[path = "scenarios/tls_front.rs"]
#[allow(dead_code, reason = "of the other test program")]
mod tls_front;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use ferromqtt_testing::{BrokerOptions, TestBroker, User};
use tokio::process::Command;
use tokio::time::timeout;

use certificates::Authority;
use tls_front::TlsFront;

const LIMIT: Duration = Duration::from_secs(60);
/// These need a server, or print what depends on where they run: each has a test of its own.
const OTHERS: [&str; 3] = ["quickstart", "tls", "websocket"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/rust")
}

fn names() -> BTreeSet<String> {
    (fs::read_dir(folder()).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

/// Programs that need features which are off by default, with these features.
fn with_features() -> Vec<(String, String)> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let value = |example: &str, key: &str| {
        let line = example.lines().find_map(|line| line.strip_prefix(key));
        line.map(|line| line.replace(['"', '[', ']', ' '], ""))
    };
    (manifest.split("[[example]]").skip(1))
        .filter_map(|example| {
            let name = value(example, "name = ").unwrap();
            let features = value(example, "required-features = ")?;
            (features != "tls").then_some((name, features))
        })
        .collect()
}

#[test]
fn the_list_of_programs_has_a_command_for_each_that_needs_a_feature() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    let listed: BTreeSet<_> = (list.lines())
        .filter_map(|line| line.split_once("cargo run -p ferromqtt --features "))
        .filter_map(|(_, rest)| rest.split_once(" --example "))
        .map(|(features, name)| (name.to_owned(), features.to_owned()))
        .collect();
    let needed: BTreeSet<_> = with_features().into_iter().collect();
    assert_eq!(needed.len(), 5);
    assert_eq!(listed, needed);
}

/// What the head of a program says that it prints.
fn promised(name: &str) -> String {
    let text = fs::read_to_string(folder().join(name).with_extension("rs")).unwrap();
    let lines = text.lines().skip_while(|line| *line != "//! It prints:");
    let mut lines = lines.skip_while(|line| *line != "//! ```text").skip(1);
    let mut output = String::new();
    loop {
        let line = lines.next().unwrap_or_else(|| {
            panic!("{name}.rs: its head must have `It prints:`, then a block ```text")
        });
        if line == "//! ```" {
            return output;
        }
        output += line.strip_prefix("//! ").expect("a line of the head");
        output.push('\n');
    }
}

/// What the program prints. It has to succeed, without a complaint.
async fn run(name: &str, environment: &[(&str, &str)]) -> String {
    let done = play(name, environment).await;
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{name} failed: {errors}");
    assert_eq!(errors, "", "{name} complains");
    String::from_utf8(done.stdout).unwrap()
}

/// The program: cargo builds the examples together with the tests, next to them.
async fn play(name: &str, environment: &[(&str, &str)]) -> Output {
    let tests = std::env::current_exe().unwrap();
    let program = tests
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(name);
    assert!(
        program.exists(),
        "{} is missing; build it with: cargo build -p ferromqtt --examples --all-features",
        program.display(),
    );
    let mut command = Command::new(program);
    let running = command
        .envs(environment.iter().copied())
        .kill_on_drop(true)
        .output();
    let done = timeout(LIMIT, running).await;
    done.unwrap_or_else(|_| panic!("{name} has not ended in time"))
        .unwrap()
}

#[tokio::test]
async fn each_example_prints_what_its_head_says() {
    let on_their_own = names()
        .into_iter()
        .filter(|name| !OTHERS.contains(&&**name));
    let mut checked = 0;
    for name in on_their_own {
        assert_eq!(run(&name, &[]).await, promised(&name), "{name}");
        checked += 1;
    }
    assert!(checked > 20, "{checked} examples were found");
}

#[tokio::test]
async fn the_quickstart_receives_every_message() {
    let broker = TestBroker::start().await.unwrap();
    let output = run("quickstart", &[("BROKER", &broker.url())]).await;
    assert!(output.starts_with(&format!("The broker is {}.\n", broker.url())));
    assert_eq!(
        output.matches("received quickstart/temperature/").count(),
        4
    );
    assert!(
        output.ends_with("Done: every message arrived.\n"),
        "{output}"
    );
    broker.stop().await;
}

#[tokio::test]
async fn the_quickstart_logs_in_and_does_not_show_the_password() {
    let mut options = BrokerOptions::default();
    options.users.push(User::new("station", "hush"));
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = TestBroker::bind(local, options).await.unwrap();
    let place = format!("127.0.0.1:{}", broker.port());
    for scheme in ["mqtt://", ""] {
        let url = format!("{scheme}station:hush@{place}");
        let output = run("quickstart", &[("BROKER", &url)]).await;
        assert!(
            output.starts_with(&format!("The broker is {place}.\n")),
            "{output}"
        );
        assert!(output.ends_with("Done: every message arrived.\n"));
    }
    broker.stop().await;
}

#[tokio::test]
async fn the_tls_example_on_a_server_with_a_certificate() {
    let broker = TestBroker::start().await.unwrap();
    let authority = Authority::new("of the example");
    let identity = authority.issue("localhost");
    let front = TlsFront::to(SocketAddr::new(broker.host(), broker.port()), &identity).await;
    let file = std::env::temp_dir().join(format!("ferromqtt-example-ca-{}.pem", front.port()));
    fs::write(&file, authority.pem()).unwrap();
    let url = format!("mqtts://localhost:{}", front.port());
    let environment = [("BROKER", &*url), ("CA_FILE", file.to_str().unwrap())];
    let output = run("tls", &environment).await;
    fs::remove_file(&file).unwrap();
    assert_eq!(output, promised("tls"));
    broker.stop().await;
}

#[tokio::test]
async fn the_tls_example_says_which_variable_to_set() {
    let done = play("tls", &[]).await;
    assert!(!done.status.success());
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(errors.contains("environment variable BROKER"), "{errors}");
}

/// With mosquitto, since the built-in broker does not speak WebSocket.
#[cfg(all(feature = "websocket", unix))]
#[tokio::test]
async fn the_websocket_example_on_mosquitto() {
    use mosquitto_process::{Mosquitto, free_port};

    let port = free_port();
    let folder = std::env::temp_dir().join(format!("ferromqtt-example-mosquitto-{port}"));
    // mosquitto 2.0 ends when WebSocket is all that it is to listen for.
    let listeners = format!(
        "listener {port} 127.0.0.1\nprotocol websockets\nlistener 0 {}/socket\n",
        folder.display()
    );
    let start = move || Mosquitto::start(folder, &listeners);
    let broker = tokio::task::spawn_blocking(start).await.unwrap();
    let url = format!("ws://127.0.0.1:{port}/mqtt");
    let output = run("websocket", &[("BROKER", &url)]).await;
    assert_eq!(output, promised("websocket"));
    drop(broker);
}

/// What the operating system trusts is where `SSL_CERT_FILE` points: a program of its own, since tests share one environment.
#[tokio::test]
#[cfg(all(unix, not(target_vendor = "apple")))]
async fn a_program_without_certificates_of_its_own_trusts_what_the_operating_system_trusts() {
    let broker = TestBroker::start().await.unwrap();
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let address = SocketAddr::new(broker.host(), broker.port());
    let front = TlsFront::to(address, &ours.issue("localhost")).await;
    let url = format!("mqtts://localhost:{}", front.port());
    let folder = std::env::temp_dir().join(format!("ferromqtt-system-{}", front.port()));
    fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        ("ours.pem", ours.pem()),
        ("other.pem", other.pem()),
        ("none.pem", String::new()),
    ] {
        fs::write(folder.join(name), text).unwrap();
    }
    let quickstart = async |file: &str| {
        let file = folder.join(file);
        let environment = [
            ("BROKER", &*url),
            ("SSL_CERT_FILE", file.to_str().unwrap()),
            ("SSL_CERT_DIR", ""),
        ];
        play("quickstart", &environment).await
    };

    let trusted = quickstart("ours.pem").await;
    assert!(trusted.status.success(), "{trusted:?}");
    for (file, parts) in [
        (
            "other.pem",
            ["issuer is not trusted", "TlsOptions::ca_file"],
        ),
        (
            "none.pem",
            ["no certificates of trusted authorities", "SSL_CERT_FILE"],
        ),
        (
            "missing.pem",
            ["no certificates of trusted authorities", "missing.pem"],
        ),
    ] {
        let failed = quickstart(file).await;
        let errors = String::from_utf8_lossy(&failed.stderr);
        assert!(!failed.status.success(), "{file}: {failed:?}");
        for part in parts {
            assert!(errors.contains(part), "{file}, {part:?} in: {errors}");
        }
    }
    fs::remove_dir_all(&folder).unwrap();
    broker.stop().await;
}

#[test]
fn the_list_of_examples_and_cargo_name_every_program() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    for name in names() {
        assert!(
            list.contains(&format!("[{name}.rs]({name}.rs)")),
            "examples/rust/README.md does not list {name}.rs"
        );
        assert!(
            manifest.contains(&format!("path = \"../../examples/rust/{name}.rs\"")),
            "crates/ferromqtt/Cargo.toml has no [[example]] {name}"
        );
    }
}
