use bytes::Bytes;
use ferromqtt::recording::{RecordedPayloads, Recorder, Recording};
use ferromqtt::{Connection, Options, ProtocolVersion, QoS, ReasonCode};
use ferromqtt_proto::Utf8String;
use ferromqtt_proto::packet::{PacketType, PublishPacket};
use ferromqtt_testing::{
    Authentication, BrokerOptions, BrokerOptionsError, FaultRule, FaultScript, Listen,
    TestAuthority, TestBroker,
};

use crate::page::{Provoked, compare};

fn refused<T>(result: Result<T, BrokerOptionsError>) -> Provoked {
    let error = result.map(|_| ()).unwrap_err();
    (error.to_string(), "BrokerOptionsError")
}

/// An attempt to connect to a broker that was dropped.
async fn stopped() -> Provoked {
    let open = TestBroker::new().transport();
    let error = open("test-broker").await.unwrap_err();
    (error.to_string(), "BrokerStopped")
}

fn without_certificate() -> Provoked {
    let error = TestAuthority::new().unwrap().issue("b\u{fc}cher");
    (error.unwrap_err().to_string(), "CertificateError")
}

async fn layered() -> Provoked {
    let broker = TestBroker::new();
    let refused = broker.listen(Listen::unix("/a").with_tls());
    (refused.await.unwrap_err().to_string(), "io::Error")
}

/// An attempt to connect to a broker that is cut off.
fn down() -> Provoked {
    let broker = TestBroker::new();
    broker.partition(false);
    let error = broker.connect().unwrap_err();
    (error.to_string(), "BrokerUnreachable")
}

fn rules() -> Vec<Provoked> {
    let reason = ReasonCode::NotAuthorized;
    let wrong = [
        FaultRule::sends(PacketType::PubAck),
        FaultRule::sends(PacketType::PubAck).lose().hold(),
        FaultRule::receives(PacketType::PingReq).refuse(reason),
        FaultRule::sends(PacketType::PubAck).refuse(reason),
        FaultRule::receives(PacketType::Publish).refuse(ReasonCode::Success),
        FaultRule::sends(PacketType::Connect).lose(),
        FaultRule::sends(PacketType::PingResp)
            .qos(QoS::AtLeastOnce)
            .lose(),
        FaultRule::receives(PacketType::Publish).topic("a#").lose(),
        FaultRule::receives(PacketType::Publish)
            .topic("$share/g/a")
            .lose(),
        FaultRule::receives(PacketType::Publish).refuse_with(reason, "\0"),
        FaultRule::receives(PacketType::Publish).nth(0).lose(),
    ];
    let rules = wrong.map(|rule| (rule.check().unwrap_err().to_string(), "FaultError"));
    let texts = [
        "sends",
        "sends lose",
        "sends any client \"x",
        "sends any loose",
        "sends any nth 1 nth 2 lose",
    ]
    .map(|text| {
        let error = text.parse::<FaultRule>().unwrap_err();
        (error.to_string(), "FaultTextError")
    });
    let files = [
        "[fault]",
        "[[fault]]\nsends = 'any'\nx = 1",
        "[[fault]]\nsends = 'any'",
        "[[fault]]\nsends = 'any'\nnth = 'x'",
        "[[fault]]\nsends = 'any'\ndo = 'loose'",
    ]
    .map(|text| {
        let error = FaultRule::from_toml(text).unwrap_err();
        (error.to_string(), "FaultFileError")
    });
    let scripts = ["sends PUBACK", "at noon restart"].map(|text| {
        let error = text.parse::<FaultScript>().unwrap_err();
        (error.to_string(), "FaultScriptError")
    });
    (rules.into_iter().chain(texts).chain(files))
        .chain(scripts)
        .collect()
}

/// A client still has a message to send.
fn busy() -> Provoked {
    let broker = TestBroker::new();
    broker.client_watch().watch(|| Some(1));
    let error = broker.check_published("a", 0).unwrap_err();
    let text = error.to_string();
    let (text, _chart) = text.split_once('\n').unwrap();
    (text.to_owned(), "NotPublished")
}

/// Journals that do not hold every message.
fn journals() -> Vec<Provoked> {
    let checked = |packets| {
        let mut options = BrokerOptions::default();
        options.journal_packets = Some(packets);
        let broker = TestBroker::with_options(options);
        for _ in 0..2 {
            broker.publish(PublishPacket {
                dup: false,
                qos: QoS::AtMostOnce,
                retain: false,
                topic: Utf8String::try_from("a").unwrap(),
                packet_id: None,
                properties: None,
                payload: Bytes::new(),
            });
        }
        let error = broker.check_published("a", 0).unwrap_err();
        (error.to_string(), "NotPublished")
    };
    vec![checked(0), checked(1)]
}

/// A file that is recorded to already.
fn recorded_twice() -> Provoked {
    let name = format!("{}-twice.mqttlog", std::process::id());
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let record = || Recorder::to_file(&path, RecordedPayloads::Hashed);
    let _first = record().unwrap();
    let error = record().unwrap_err();
    std::fs::remove_file(&path).unwrap();
    (error.to_string(), "io::Error")
}

/// Files that are no recordings.
fn recordings() -> Vec<Provoked> {
    let missing = Recording::read("/nowhere.mqttlog").unwrap_err();
    let texts = ["", "{\"mqttlog\":2,\"payloads\":true}\n"];
    let wrong = texts.map(|text| text.parse::<Recording>().unwrap_err());
    let errors = [missing].into_iter().chain(wrong);
    errors
        .map(|error| (error.to_string(), "RecordingError"))
        .collect()
}

/// Recordings of an accepted CONNECT that cannot be replayed, or are not.
async fn replays() -> Vec<Provoked> {
    let text = |payloads, more| {
        let lines = [
            r#""event":"opened""#,
            r#""to":"server","packet":"CONNECT","bytes":"100d00044d5154540402003c000161""#,
            r#""to":"client","packet":"CONNACK","bytes":"20020000""#,
            more,
        ];
        let lines = lines
            .map(|line| format!("{{\"at\":0,\"link\":1,{line}}}\n"))
            .concat();
        format!("{{\"mqttlog\":1,\"payloads\":{payloads}}}\n{lines}")
            .parse::<Recording>()
            .unwrap()
    };
    let left = r#""to":"client","packet":"PUBLISH","left_out":99999999"#;
    let closed = r#""event":"closed by client""#;
    let refused = |recording| TestBroker::from_recording(&recording).unwrap_err();
    let broker = TestBroker::from_recording(&text(true, closed)).unwrap();
    let unfinished = broker.check_replay().unwrap_err();
    let rule = FaultRule::sends(PacketType::PubAck).lose();
    let rule = broker.add_fault(rule).unwrap_err();
    let options = Options::test(&broker)
        .protocol(ProtocolVersion::V5)
        .reconnect(None);
    Connection::open(options).await.unwrap_err(); // recorded was 3.1.1
    let mismatch = broker.check_replay().unwrap_err();
    let errors = [
        refused(text(false, closed)),
        refused(text(true, left)),
        unfinished,
        mismatch,
    ];
    let errors = errors.map(|error| (error.to_string(), "ReplayError"));
    let rule = (rule.to_string(), "FaultError");
    errors.into_iter().chain([rule]).collect()
}

#[tokio::test]
async fn every_text_of_the_test_broker_is_provoked_and_reads_as_the_page_says() {
    let mut options = BrokerOptions::default();
    let mut provoked = vec![
        refused(options.deny_connect("*", ReasonCode::Success)),
        refused(Authentication::new("a\0", [("first?", "FIRST?")])),
        refused(Authentication::new("LOUD", [(vec![0; 65_536], vec![0])])),
        without_certificate(),
        layered().await,
        stopped().await,
        down(),
        busy(),
    ];
    provoked.extend(rules());
    provoked.extend(journals());
    provoked.extend(recordings());
    provoked.push(recorded_twice());
    provoked.extend(replays().await);
    compare("Rust: test broker", provoked);
}
