//! Ask and be answered (5.0): Response Topic and Correlation Data are the client's business.
//!
//! It prints:
//!
//! ```text
//! 6 * 7 = 42
//! 2 * 2 = 4
//! nobody is there to respond
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Client, Error, Messages, Options};
use ferromqtt_testing::TestBroker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    // Asker and responder would be two programs; one connection will do here.
    let questions = client.subscribe("multiply").await?;
    let responder = tokio::spawn(respond(client.clone(), questions));
    for question in ["6 * 7", "2 * 2"] {
        let request = client.request("multiply", question);
        let answer = request.timeout(Duration::from_secs(5)).await?;
        println!("{question} = {}", String::from_utf8_lossy(&answer.payload));
    }
    if let Err(error) = client.request("divide", "1 / 0").await {
        println!("{error}");
    }
    responder.abort();
    Ok(())
}

async fn respond(client: Client, mut questions: Messages) -> Result<(), Error> {
    while let Some(question) = questions.next().await {
        let text = String::from_utf8_lossy(&question.payload);
        let numbers = text.split('*').map(|number| number.trim().parse::<u32>());
        let answer = match numbers.product::<Result<u32, _>>() {
            Ok(product) => product.to_string(),
            Err(error) => format!("cannot multiply: {error}"),
        };
        client.respond(&question, answer).await?;
    }
    Ok(())
}
