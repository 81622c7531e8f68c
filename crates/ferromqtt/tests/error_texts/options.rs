use std::process::Command;
use std::time::Duration;

use ferromqtt::{
    Authenticator, AuthenticatorError, Bytes, CleanStart, Connection, DeclaredSubscription,
    Options, Properties, ProtocolVersion, QoS, ServerProfile, TlsOptions, TopicName, Utf8String,
    Will,
};
use ferromqtt_testing::TestBroker;

use crate::certificates::Authority;
use crate::connecting::failure;
use crate::page::{Provoked, compare};

fn local() -> Options {
    Options::new("127.0.0.1", 1)
}

fn text(text: &str) -> Utf8String {
    Utf8String::try_from(text).unwrap()
}

/// Answers nothing.
struct Silent;

impl Authenticator for Silent {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(None)
    }

    fn answer(&mut self, _: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(None)
    }
}

/// Options that MQTT does not allow.
fn of_mqtt() -> Vec<Options> {
    let old = local().protocol(ProtocolVersion::V311);
    let answering = |topic: &str| Properties {
        response_topic: Some(text(topic)),
        ..Properties::default()
    };
    vec![
        local().client_identifier("a\0"),
        local().user_name("a".repeat(65_536)),
        local().clean_start(CleanStart::Never),
        old.clone().password("secret"),
        local().password(vec![0; 65_536]),
        local().will(Will::new("a/#", "")),
        old.receive_maximum(1),
        local()
            .session_expiry_interval(Duration::ZERO)
            .session_expiry_at_disconnect(Duration::from_secs(1)),
        local().properties(Properties {
            message_expiry_interval: Some(1),
            ..Properties::default()
        }),
        local().will(Will::new("gone", "").properties(answering("a/#"))),
        local().response_topic(TopicName::new("$share/a/b").unwrap()),
        local().properties(Properties {
            authentication_data: Some(Bytes::from_static(b"x")),
            ..Properties::default()
        }),
        local().properties(Properties {
            authentication_method: Some(text("PLAIN")),
            ..Properties::default()
        }),
        local().protocol_auto().authenticator("PLAIN", || Silent),
        local().will(Will::new("gone", "").properties(Properties {
            correlation_data: Some(vec![0; 65_536].into()),
            ..Properties::default()
        })),
        local().receive_maximum(0),
        local().servers([]),
        local().subscription(DeclaredSubscription::new("$share/a/b").no_local(true)),
        local().subscription(DeclaredSubscription::new("a#")),
    ]
}

/// Options that contradict a profile.
fn of_profiles() -> Vec<Options> {
    let aws = || Options::for_profile(ServerProfile::AwsIot, "127.0.0.1.example");
    vec![
        local().profile(ServerProfile::AwsIot),
        Options::for_profile(ServerProfile::AwsIot, "127.0.0.1"),
        Options::for_profile(ServerProfile::Nats, "127.0.0.1").protocol(ProtocolVersion::V5),
        aws().will(Will::new("gone", "").qos(QoS::ExactlyOnce)),
        Options::for_profile(ServerProfile::AzureIotHub, "127.0.0.1"),
        aws().client_identifier("a".repeat(129)),
        aws().keep_alive(Duration::ZERO),
    ]
}

fn of_places() -> Vec<Options> {
    let ours = Authority::new("ours");
    let (one, two) = (ours.issue("one"), ours.issue("two"));
    let tls = |tls: TlsOptions| local().tls(tls);
    let mut all: Vec<_> = [
        "",
        "a b",
        "mqtt://broker",
        "broker:1883",
        "[::1]",
        &"a".repeat(64),
    ]
    .into_iter()
    .map(|host| Options::new(host, 1883))
    .collect();
    all.extend([
        Options::new("broker", 0),
        local().websocket_header("a", "b"),
        Options::test(&TestBroker::new()).bind_address([127, 0, 0, 1].into()),
        Options::from_url("ws://127.0.0.1:1")
            .unwrap()
            .websocket_header("a b", "c"),
        tls(TlsOptions::new().ca_file("/nope/ca.pem")),
        tls(TlsOptions::new().ca_pem("no certificate")),
        tls(TlsOptions::new()
            .ca_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")),
        tls(TlsOptions::new()
            .ca_pem(ours.pem())
            .client_certificate_pem(one.chain, two.key)),
        tls(TlsOptions::new().server_name("a b")),
    ]);
    all
}

const WITHOUT_ROOTS: &str = "options::without_trusted_authorities";

/// The text where the system trusts nobody, from a process of its own, since the environment says so.
fn of_a_system_without_roots() -> Provoked {
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own)
        .args([WITHOUT_ROOTS, "--exact", "--ignored", "--nocapture"])
        .env("SSL_CERT_FILE", "/dev/null")
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let line = output.lines().find_map(|line| line.split_once("TEXT: "));
    let (_, text) = line.unwrap_or_else(|| panic!("{output}"));
    (text.to_owned(), "ConnectError::Options")
}

#[tokio::test]
#[ignore = "played by another test, in an environment of its own"]
#[allow(clippy::print_stdout, reason = "that is how the other test gets it")]
async fn without_trusted_authorities() {
    let options = local().tls(TlsOptions::new());
    let error = Connection::open(options).await.unwrap_err();
    println!("\nTEXT: {error}");
}

#[tokio::test]
async fn every_text_of_wrong_options_is_provoked_and_reads_as_the_page_says() {
    let mut provoked = Vec::new();
    for options in of_mqtt()
        .into_iter()
        .chain(of_profiles())
        .chain(of_places())
    {
        provoked.push(failure(options).await);
    }
    provoked.push(of_a_system_without_roots());
    compare("Rust: wrong options", provoked);
}
