//! Several messages are worked on at a time, and no more than that.
//!
//! It prints:
//!
//! ```text
//! at most 3 were in work at a time
//! done: job 1, job 2, job 3, job 4, job 5, job 6
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Client, Message, Options};
use ferromqtt_testing::TestBroker;
use tokio::task::JoinSet;
use tokio::time::sleep;

const WORKERS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope_with(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn program(client: Client) -> Result<(), Box<dyn StdError>> {
    let mut jobs = client.subscribe("jobs").await?;
    for number in 1..=6 {
        client.publish("jobs", format!("job {number}")).await?;
    }
    let (mut at_work, mut done, mut most) = (JoinSet::new(), Vec::new(), 0);
    for _ in 1..=6 {
        // What no worker is free for waits in the queue of the subscription, which has a bound.
        if at_work.len() == WORKERS
            && let Some(job) = at_work.join_next().await
        {
            done.push(job?);
        }
        let job = jobs.next().await.ok_or("the connection has ended")?;
        at_work.spawn(work(job));
        most = most.max(at_work.len());
    }
    done.extend(at_work.join_all().await);
    done.sort();
    println!("at most {most} were in work at a time");
    println!("done: {}", done.join(", "));
    Ok(())
}

async fn work(job: Message) -> String {
    sleep(Duration::from_millis(50)).await; // stands for work that waits: a database, another service
    String::from_utf8_lossy(&job.payload).into_owned()
}
