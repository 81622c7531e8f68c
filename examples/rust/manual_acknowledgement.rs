//! Acknowledge a message when its work is done: what was not acknowledged comes again.
//!
//! That needs a session that outlives the program (`CleanStart::Never`). In any other, what a stream that is dropped has not
//! taken is acknowledged with its end, so that it holds up nobody else's; `ConnectionEvent::Lagged` tells how many were lost.
//!
//! It prints:
//!
//! ```text
//! received: job 1
//! the worker breaks off, and connects again
//! received once more: job 1
//! done, and acknowledged
//! the server has 0 messages left for the worker
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{
    Acknowledge, CleanStart, Client, Error, Messages, Options, QoS, QueueOptions, SubscribeError,
};
use ferromqtt_testing::TestBroker;

const BY_HAND: QueueOptions = QueueOptions {
    acknowledge: Acknowledge::ByApplication,
    ..QueueOptions::UNBOUNDED // no more than the Receive Maximum come without being acknowledged
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    let options = Options::new(broker.host(), broker.port())
        .client_identifier("worker")
        .clean_start(CleanStart::Never);
    ferromqtt::scope(options.clone(), break_off).await?;
    println!("the worker breaks off, and connects again");
    ferromqtt::scope(options, finish).await?;
    let left = broker
        .session_stats("worker")
        .map_or(0, |session| session.queued + session.in_flight);
    println!("the server has {left} messages left for the worker");
    broker.stop().await;
    Ok(())
}

async fn subscribe(client: &Client) -> Result<Messages, SubscribeError> {
    let jobs = client.subscribe("jobs").qos(QoS::AtLeastOnce);
    jobs.queue(BY_HAND).await
}

async fn break_off(client: Client) -> Result<(), Error> {
    let mut jobs = subscribe(&client).await?;
    client
        .publish("jobs", "job 1")
        .qos(QoS::AtLeastOnce)
        .await?;
    if let Some(job) = jobs.next().await {
        println!("received: {}", String::from_utf8_lossy(&job.payload));
    }
    Ok(()) // the stream is dropped, the subscription stays in the session, and the job unacknowledged
}

async fn finish(client: Client) -> Result<(), Error> {
    let mut jobs = subscribe(&client).await?; // it gets what the session holds for it
    if let Some(job) = jobs.next().await {
        println!(
            "received once more: {}",
            String::from_utf8_lossy(&job.payload)
        );
        if let Some(delivery) = job.delivery {
            client.acknowledge(delivery);
            println!("done, and acknowledged");
        }
    }
    Ok(())
}
