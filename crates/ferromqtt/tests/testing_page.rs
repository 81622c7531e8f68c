//! The recipes of docs/testing.md, as the page has them; python/tests/test_docs_testing.py compares the two.
#![cfg(all(feature = "testing", feature = "tls"))]

use ferromqtt::testing::{Listen, PacketType, TestBroker, assert_faults_fired, assert_published};
use ferromqtt::{Client, Error, Options, QoS, ReasonCode, TlsOptions};

async fn report_level(client: &Client, level: f64) -> Result<(), Error> {
    client.publish("site/7/level", level.to_string()).await?;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn reports_the_level() -> Result<(), Error> {
    let broker = TestBroker::new();
    ferromqtt::scope(Options::test(&broker), async |client| {
        let mut levels = client.subscribe("site/+/level").await?;
        report_level(&client, 28.4).await?;
        let level = levels.next().await.expect("the message");
        assert_eq!(level.text()?, "28.4");
        Ok(())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_client_comes_back_when_the_server_sends_it_away() -> Result<(), Error> {
    let broker = TestBroker::new();
    let options = Options::test(&broker).client_identifier("pump-7");
    ferromqtt::scope(options, async |client| {
        let away = broker.disconnect_client("pump-7", ReasonCode::ServerShuttingDown, None);
        assert!(away.unwrap());
        client
            .publish("level", "28.4")
            .qos(QoS::AtLeastOnce)
            .await?;
        Ok(())
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_survived() -> Result<(), Error> {
    let broker = TestBroker::new();
    broker.sends(PacketType::PubAck).lose().cut();
    let options = Options::test(&broker).client_identifier("pump-7");
    ferromqtt::scope(options, async |client| {
        client
            .publish("site/7/alarm", "on")
            .qos(QoS::AtLeastOnce)
            .await?;
        Ok::<_, Error>(())
    })
    .await?;
    broker.idle().await; // what must not come has had its time
    assert_published!(broker, "site/7/alarm", ["on", "on"]); // these payloads, in this order
    assert_published!(broker, "site/+/alarm", payload = "on", times = 2);
    assert_published!(broker, "site/7/alarm", qos = QoS::AtLeastOnce, times = 2);
    assert_published!(broker, "site/7/level", times = 0);
    assert_faults_fired!(broker); // the PUBACK was lost
    Ok(())
}

#[tokio::test]
async fn over_tls() -> Result<(), Box<dyn std::error::Error>> {
    let broker = TestBroker::new();
    let listening = broker.listen(Listen::tls()).await?;
    let ca = listening.ca().expect("it is TLS").to_owned();
    let options = Options::from_url(listening.url())?.tls(TlsOptions::new().ca_pem(ca));
    ferromqtt::scope(options, async |client| {
        client
            .publish("level", "28.4")
            .qos(QoS::AtLeastOnce)
            .await?;
        Ok::<_, Error>(())
    })
    .await?;
    broker.stop().await;
    Ok(())
}
