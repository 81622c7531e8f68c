//! Server profiles: what the driver makes of them.

use ferromqtt_proto::ServerReach;

use super::*;
use crate::{
    InvalidOptions, InvalidPublish, OptionsError, ProfileConflict, ProtocolVersion, PublishError,
    ReasonCode, ServerProfile, Will,
};

const GRANTED: ReasonCode = ReasonCode::GrantedQos1;

fn of(profile: ServerProfile) -> Options {
    options().profile(profile).client_identifier("station-7")
}

#[tokio::test(start_paused = true)]
async fn a_subscription_with_more_filters_than_the_server_takes_is_made_by_several_packets() {
    let (connection, mut server, _attempts) = connected(of(ServerProfile::AwsIot), 4096).await;
    let client = connection.client();
    let names: Vec<_> = (0..20).map(|number| format!("f/{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (messages, _) = tokio::join!(client.subscribe_all(names).into_future(), async {
        for size in [8, 8, 4] {
            let sent = server.subscribe_all(&[GRANTED; 8][..size]).await;
            assert_eq!(sent.filters.iter().count(), size);
        }
    });
    let messages = messages.unwrap();
    assert_eq!(messages.results().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_take_is_refused_and_the_connection_goes_on() {
    let (connection, mut server, _attempts) = connected(of(ServerProfile::AwsIot), 4096).await;
    let client = connection.client();
    let whose = ServerProfile::AwsIot.row().shown;
    let refused = client.publish("t", "x").qos(QoS::ExactlyOnce).await;
    let error = InvalidPublish::QosNotSupported { maximum: 1, whose };
    assert_eq!(refused, Err(PublishError::Invalid(error)));
    let refused = client.publish("a/a/a/a/a/a/a/a/a", "x").enqueue().await;
    assert!(matches!(
        refused,
        Err(PublishError::Invalid(InvalidPublish::TopicLimit(_)))
    ));
    client.publish("t", "x").qos(QoS::AtMostOnce).await.unwrap();
    assert!(matches!(server.next().await, Some(Packet::Publish(_))));
}

#[tokio::test]
async fn options_that_contradict_the_profile_are_refused_when_connecting() {
    let refused = async |options: Options| {
        let Err(ConnectError::Options(OptionsError::Invalid(error))) =
            Connection::open(options).await
        else {
            panic!("refused");
        };
        let InvalidOptions::Profile(conflict) = error else {
            panic!("{error}");
        };
        *conflict
    };
    use ServerProfile::{AwsIot, AzureEventGrid, Nats};
    let plain = Options::new("h.example", 8883).profile(AwsIot);
    let it = refused(plain).await;
    assert!(matches!(
        it,
        ProfileConflict::NeedsTls {
            port: Some(8883),
            ..
        }
    ));
    let it = refused(Options::for_profile(AwsIot, "10.0.0.1")).await;
    assert!(matches!(it, ProfileConflict::NeedsServerName { .. }));
    let will = Will::new("w", "x").qos(QoS::ExactlyOnce);
    let it = refused(Options::for_profile(AwsIot, "h.example").will(will)).await;
    assert!(matches!(it, ProfileConflict::Will(_)));
    let it = refused(Options::for_profile(AzureEventGrid, "h.example")).await;
    assert!(matches!(it, ProfileConflict::IdentifierNeeded { .. }));
    let five = Options::for_profile(Nats, "h.example").protocol(ProtocolVersion::V5);
    assert!(matches!(
        refused(five).await,
        ProfileConflict::Version { .. }
    ));
}

#[test]
fn the_version_is_one_that_the_server_speaks_unless_it_was_chosen() {
    let of = |options: Options| {
        let core = options.to_core().unwrap();
        (core.protocol, core.fall_back)
    };
    use ServerProfile::{AwsIot, Nats};
    let nats = Options::for_profile(Nats, "h");
    assert_eq!(of(nats.clone()), (ProtocolVersion::V311, false));
    assert!(!nats.ends_session(), "3.1.1 has no Session Expiry");
    assert_eq!(of(nats.protocol_auto()), (ProtocolVersion::V311, false));
    let aws = Options::for_profile(AwsIot, "h");
    assert_eq!(of(aws.clone()), (ProtocolVersion::V5, false));
    assert_eq!(of(aws.clone().protocol_auto()), (ProtocolVersion::V5, true));
    let chosen = aws.protocol(ProtocolVersion::V311);
    assert_eq!(of(chosen), (ProtocolVersion::V311, false));
}

#[test]
fn a_profile_knows_its_ports() {
    let reach = |tls, websocket| ServerReach {
        tls,
        websocket,
        without_name: false,
    };
    let aws = ServerProfile::AwsIot;
    assert_eq!(aws.port(reach(true, false)), Some(8883));
    assert_eq!(aws.port(reach(true, true)), Some(443));
    assert_eq!(aws.alpn(reach(true, false), 443), Some("x-amzn-mqtt-ca"));
    assert_eq!(aws.alpn(reach(true, true), 443), None);
    assert_eq!(aws.alpn(reach(true, false), 8883), None);
    let rabbitmq = ServerProfile::RabbitMq;
    assert_eq!(rabbitmq.port(reach(false, false)), Some(1883));
}
