//! Credentials that expire: the client asks for them at each attempt to connect, and a refusal is not the end.
//!
//! It prints:
//!
//! ```text
//! token 1 is new
//! the server takes token 1
//! token 1 was refused: Bad User Name or Password (0x86)
//! token 2 is new
//! the server takes token 2
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use ferromqtt::{
    ConnectAttempt, Connection, ConnectionError, Credentials, CredentialsError,
    CredentialsProvider, Options, QoS,
};
use ferromqtt_testing::{BrokerOptions, TestBroker, User};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::bind(([127, 0, 0, 1], 0).into(), takes("token 1")).await?;
    let address = SocketAddr::new(broker.host(), broker.port());
    let options = Options::new(address.ip(), address.port()).credentials(Tokens::default());
    let connection = Connection::open(options).await?;
    let client = connection.client();
    println!("the server takes token 1");

    broker.stop().await; // and comes again when the token has expired
    let broker = TestBroker::bind(address, takes("token 2")).await?;
    let message = client.publish("temperature", "28.4");
    message.qos(QoS::AtLeastOnce).await?; // waits for the connection
    println!("the server takes token 2");
    connection.disconnect().await?;
    broker.stop().await;
    Ok(())
}

/// Keeps a token until a server refuses it. For something smaller an async closure would do too.
#[derive(Default)]
struct Tokens {
    current: AtomicU32,
}

impl CredentialsProvider for Tokens {
    async fn credentials(&self, attempt: ConnectAttempt) -> Result<Credentials, CredentialsError> {
        let mut number = self.current.load(Ordering::Relaxed);
        let refusal = match attempt.last_end {
            Some(ConnectionError::Refused { reason, .. }) => Some(reason),
            _ => None,
        };
        if let Some(reason) = refusal {
            println!("token {number} was refused: {reason}");
        }
        if number == 0 || refusal.is_some() {
            number += 1; // here you would ask your service: if that fails, the client tries again later
            println!("token {number} is new");
            self.current.store(number, Ordering::Relaxed);
        }
        let token = format!("token {number}");
        Ok(Credentials::new().user_name("station-7").password(token))
    }
}

fn takes(token: &str) -> BrokerOptions {
    let mut options = BrokerOptions::default();
    options.users = vec![User::new("station-7", token)];
    options
}
