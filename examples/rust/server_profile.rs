//! Names the service that the server is: what it does not take costs no connection.
//!
//! It runs on the test broker in memory. Without the line with `transport` it connects to the host, over TLS and at the port of
//! the service.
//!
//! It prints:
//!
//! ```text
//! cannot publish: AWS IoT Core (profile aws-iot) accepts QoS 1 at most; publish with that, or elsewhere
//! cannot publish: topic of 9 levels has more than the 8 that AWS IoT Core (profile aws-iot) accepts
//! subscribed to 20 filters
//! received hello
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use ferromqtt::{Client, Error, Options, QoS, ServerProfile};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let broker = TestBroker::new();
    let host = "example-ats.iot.eu-west-1.amazonaws.com";
    let options = Options::for_profile(ServerProfile::AwsIot, host)
        .client_identifier("station-7")
        .transport(broker.transport());
    ferromqtt::scope(options, async |client: Client| {
        let too_much = [
            ("room/1", QoS::ExactlyOnce),
            ("a/b/c/d/e/f/g/h/i", QoS::AtLeastOnce),
        ];
        for (topic, qos) in too_much {
            if let Err(error) = client.publish(topic, "hello").qos(qos).await {
                println!("{error}");
            }
        }

        // One call, and as many packets as the service needs for so many filters.
        let filters = (0..20).map(|number| format!("room/{number}"));
        let mut rooms = (client.subscribe_all(filters))
            .qos(QoS::AtLeastOnce)
            .await?;
        println!("subscribed to {} filters", rooms.results().len());
        client.publish("room/19", "hello").await?;
        if let Some(message) = rooms.next().await {
            println!("received {}", message.text()?);
        }
        Ok::<_, Error>(())
    })
    .await
}
