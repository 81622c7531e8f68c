use ferromqtt::{QoS, ReasonCode};
use ferromqtt_proto::packet::PacketType;
use ferromqtt_testing::{Authentication, BrokerOptions, BrokerOptionsError, FaultRule, TestBroker};

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
        FaultRule::receives(PacketType::Publish).refuse_with(reason, "\0"),
        FaultRule::receives(PacketType::Publish).nth(0).lose(),
    ];
    let rules = wrong.map(|rule| (rule.check().unwrap_err().to_string(), "FaultError"));
    let texts = ["sends lose", "sends any client \"x", "sends any loose"].map(|text| {
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
    rules.into_iter().chain(texts).chain(files).collect()
}

#[tokio::test]
async fn every_text_of_the_test_broker_is_provoked_and_reads_as_the_page_says() {
    let mut options = BrokerOptions::default();
    let mut provoked = vec![
        refused(options.deny_connect("*", ReasonCode::Success)),
        refused(Authentication::new("a\0", [("first?", "FIRST?")])),
        refused(Authentication::new("LOUD", [(vec![0; 65_536], vec![0])])),
        stopped().await,
        down(),
    ];
    provoked.extend(rules());
    compare("Rust: test broker", provoked);
}
