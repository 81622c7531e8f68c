//! Answer requests (5.0), in a loop that gets nothing else.
//!
//! It prints:
//!
//! ```text
//! 6 * 7 = 42
//! 2 * 2 = 4
//! 1 message asked for no response
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Client, Error, Options, QoS, Requests};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let requests = client.responder("multiply").qos(QoS::AtLeastOnce).await?;
    let responder = tokio::spawn(multiply(requests));
    // The asker would be another program; one connection will do here.
    ask(&client, "6 * 7").await?;
    // Anybody may publish here: this asks for nothing, and the loop does not see it.
    client.publish("multiply", "3 * 3").await?;
    ask(&client, "2 * 2").await?;
    client.unsubscribe("multiply").await?; // ends the stream
    let passed_over = responder.await.expect("it does not panic")?;
    println!("{passed_over} message asked for no response");
    Ok(())
}

async fn ask(client: &Client, question: &'static str) -> Result<(), Error> {
    let request = client.request("multiply", question);
    let answer = request.timeout(Duration::from_secs(5)).await?;
    println!("{question} = {}", answer.text()?);
    Ok(())
}

async fn multiply(mut requests: Requests) -> Result<u64, Error> {
    while let Some(request) = requests.next().await {
        let numbers = request
            .text()?
            .split('*')
            .map(|it| it.trim().parse::<u32>());
        let answer = match numbers.product::<Result<u32, _>>() {
            Ok(product) => product.to_string(),
            Err(error) => format!("cannot multiply: {error}"),
        };
        request.respond(answer).await?;
    }
    Ok(requests.passed_over())
}
