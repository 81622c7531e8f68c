//! Connect with TLS. The server's certificate and name are checked unless you say otherwise.
//!
//! It needs a server with a certificate:
//!
//! `BROKER=mqtts://localhost:8883 CA_FILE=ca.pem cargo run -p ferromqtt --example tls`
//!
//! It prints:
//!
//! ```text
//! connected, trusting the authority in CA_FILE
//! a server that nobody vouches for is refused, and not tried again
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::env;
use std::error::Error as StdError;

use ferromqtt::{
    Client, ConnectError, ConnectionError, Error, Options, TlsOptions, TransportError,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    // `mqtts` alone means TLS with the authorities that the system trusts. `client_certificate_files` is for a server that
    // asks for a certificate of the client.
    let options = Options::from_url(&variable("BROKER")?)?;
    let authority = TlsOptions::new().ca_file(variable("CA_FILE")?);
    ferromqtt::scope(options.clone().tls(authority), program).await?;
    println!("connected, trusting the authority in CA_FILE");

    match ferromqtt::scope(options, program).await {
        Err(Error::Connect(ConnectError::Connection {
            cause: ConnectionError::Transport(TransportError::Certificate(_)),
            ..
        })) => println!("a server that nobody vouches for is refused, and not tried again"),
        other => println!("not expected: {other:?}"),
    }
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    client.publish("temperature/outside", "28.4").await?;
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| {
        format!("set the environment variable {name}: the head of this file shows how")
    })
}
