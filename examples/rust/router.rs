//! Give each filter a handler, and all errors one place.
//!
//! It prints:
//!
//! ```text
//! alarm: fire in the kitchen
//! 21.5 °C in room 1
//! failed on house/room/2/temp: invalid float literal
//! 19.0 °C in room 3
//! 2 + 2 = 4
//! ```

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::error::Error as StdError;

use ferromqtt::{
    Acknowledge, Client, Error, HandlerError, Options, QoS, QueueOptions, Route, RoutedMessage,
    Router, TopicTemplate,
};
use ferromqtt_testing::TestBroker;
use tokio::sync::mpsc::{Sender, channel};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let broker = TestBroker::start().await?;
    ferromqtt::scope(Options::new(broker.host(), broker.port()), program).await?;
    broker.stop().await;
    Ok(())
}

async fn alarm(message: RoutedMessage) -> Result<(), HandlerError> {
    println!("alarm: {}", message.text()?);
    Ok(())
}

async fn program(client: Client) -> Result<(), Error> {
    let (readings, mut done) = channel(10);
    // The router acknowledges a reading when its handler has returned.
    let by_hand = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::DEFAULT
    };
    let template: TopicTemplate = "house/room/{room}/temp".parse()?;
    let temperatures = Route::new(template).qos(QoS::AtLeastOnce).queue(by_hand);
    let router = Router::new()
        .on("house/alarms/#", alarm)
        .on_with(temperatures, readings, temperature)
        .respond("house/add", |request| async move {
            let numbers = request
                .text()?
                .split('+')
                .map(|it| it.trim().parse::<i64>());
            Ok(numbers.sum::<Result<i64, _>>()?.to_string())
        })
        .on_error(|error, message| async move {
            println!("failed on {}: {error}", message.topic);
        });
    let running = tokio::spawn(router.start(&client).await?); // it has subscribed
    for (topic, payload) in [
        ("house/alarms/kitchen", "fire in the kitchen"),
        ("house/room/1/temp", "21.5"),
        ("house/room/2/temp", "warm"),
        ("house/room/3/temp", "19"),
    ] {
        client.publish(topic, payload).qos(QoS::AtLeastOnce).await?;
    }
    done.recv().await;
    done.recv().await;
    let answer = client.request("house/add", "2 + 2").await?;
    println!("2 + 2 = {}", answer.text()?);
    running.abort(); // stops all handlers
    Ok(())
}

async fn temperature(message: RoutedMessage, readings: Sender<f64>) -> Result<(), HandlerError> {
    let celsius: f64 = message.text()?.parse()?;
    let params = message.params();
    let room = params.get("room").unwrap_or_default();
    println!("{celsius:.1} °C in room {room}");
    readings.send(celsius).await?;
    Ok(())
}
