//! Several servers, one after the other: the next one is tried when one refuses, or is not there.
//!
//! It prints:
//!
//! ```text
//! nobody is at the first, the second refuses: connected to the third
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::net::TcpListener;

use ferromqtt::{Client, Error, Options, QoS, ReasonCode, Server};
use ferromqtt_testing::{BrokerOptions, TestBroker};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?; // closed again at once
    let mut closed = BrokerOptions::default();
    closed.deny_connect("*", ReasonCode::ServerUnavailable)?;
    let second = TestBroker::bind(([127, 0, 0, 1], 0).into(), closed).await?;
    let third = TestBroker::start().await?;
    let servers = [
        Server::new(nobody.ip(), nobody.port()),
        second.url().parse()?,
        third.url().parse()?,
    ];
    let options = Options::new("replaced", 1883).servers(servers);
    ferromqtt::scope(options, async |client: Client| {
        client
            .publish("hello", "world")
            .qos(QoS::AtLeastOnce)
            .await?;
        if (second.stats().connections, third.stats().connections) == (0, 1) {
            println!("nobody is at the first, the second refuses: connected to the third");
        }
        Ok::<_, Error>(())
    })
    .await?;
    second.stop().await;
    third.stop().await;
    Ok(())
}
