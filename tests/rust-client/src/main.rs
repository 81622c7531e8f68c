//! Plays one scenario with the tokio client against a server, and prints what happened as JSON: what is right is for the
//! tests to say, in `python/tests/interop/test_rust_*.py`. They start the servers and the proxies.
//!
//! `ferromqtt-test-client SCENARIO '{"url": "mqtt://...", "version": "V5", "topic": "..."}'`

#![allow(clippy::print_stdout, reason = "it is what the tests read")]

mod connections;
mod failure;
mod messages;
mod settings;
mod version_5;

use std::error::Error as StdError;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use settings::Settings;

/// No scenario takes as long, whatever the server does.
const LIMIT: Duration = Duration::from_secs(40);

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().ok_or("the scenario's name is missing")?;
    let settings = arguments
        .next()
        .ok_or("the scenario's settings are missing")?;
    let settings = Settings::read(&settings)?;
    let report = match timeout(LIMIT, play(&name, &settings)).await {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => json!({ "error": failure::describe(&*error) }),
        Err(_) => json!({ "error": { "kind": "TimeLimit" } }),
    };
    println!("{report}");
    Ok(())
}

async fn play(name: &str, settings: &Settings) -> Result<Value, Box<dyn StdError>> {
    match name {
        "round_trip" => messages::round_trip(settings).await,
        "large" => messages::large(settings).await,
        "in_flight" => messages::in_flight(settings).await,
        "unsubscribe" => messages::unsubscribe(settings).await,
        "retained" => messages::retained(settings).await,
        "shared" => messages::shared(settings).await,
        "connect" => connections::connect(settings).await,
        "takeover" => connections::takeover(settings).await,
        "will" => connections::will(settings).await,
        "missed" => connections::missed(settings).await,
        "cut" => connections::cut(settings).await,
        "idle" => connections::idle(settings).await,
        "properties" => version_5::properties(settings).await,
        "request" => version_5::request(settings).await,
        "aliases" => version_5::aliases(settings).await,
        other => Err(format!("there is no scenario {other}").into()),
    }
}
