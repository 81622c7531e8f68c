//! Messages there and back.

use std::error::Error as StdError;

use ferromqtt::{Client, Error, Message, Messages, QoS};
use serde_json::{Value, json};

use crate::settings::Settings;

type Report = Result<Value, Box<dyn StdError>>;

/// What publishers send behind everything else: messages keep their order, so nothing follows it.
const LAST: &str = "last";

/// `count` messages, one after the other, to oneself.
pub(crate) async fn round_trip(settings: &Settings) -> Report {
    let (topic, count, qos) = (settings.topic()?, settings.count()?, settings.qos()?);
    let (granted, received) = ferromqtt::scope(settings.options()?, async |client| {
        let mut messages = client.subscribe(topic).qos(qos).await?;
        for number in 0..count {
            client.publish(topic, number.to_string()).qos(qos).await?;
        }
        client.publish(topic, LAST).qos(qos).await?;
        Ok::<_, Error>((messages.granted_qos(), until_last(&mut messages).await))
    })
    .await?;
    Ok(json!({
        "granted": granted.value(),
        "received": numbers(&received),
        "qos": received.iter().map(|message| message.qos.value()).collect::<Vec<_>>(),
        "topics": received.iter().all(|message| message.topic == topic),
        "retained": received.iter().any(|message| message.retain),
    }))
}

/// One message of `count` bytes.
pub(crate) async fn large(settings: &Settings) -> Report {
    let (topic, count) = (settings.topic()?, settings.count()?);
    let payload: Vec<u8> = (0..=250).cycle().take(count).collect();
    let same = ferromqtt::scope(settings.options()?, async |client| {
        let mut messages = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        let message = client.publish(topic, payload.clone());
        message.qos(QoS::AtLeastOnce).await?;
        let message = messages.next().await;
        Ok::<_, Error>(message.is_some_and(|message| message.payload == payload))
    })
    .await?;
    Ok(json!({ "same": same }))
}

/// `count` messages at once.
pub(crate) async fn in_flight(settings: &Settings) -> Report {
    let (topic, count) = (settings.topic()?, settings.count()?);
    let received = ferromqtt::scope(settings.options()?, async |client| {
        let mut messages = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        let mut receipts = Vec::new();
        for number in 0..count {
            let message = client.publish(topic, number.to_string());
            receipts.push(message.qos(QoS::AtLeastOnce).enqueue().await?);
        }
        for receipt in receipts {
            receipt.await?;
        }
        publish(&client, topic, LAST).await?;
        Ok::<_, Error>(until_last(&mut messages).await)
    })
    .await?;
    Ok(json!({ "received": numbers(&received) }))
}

/// What comes on `topic` after unsubscribing.
pub(crate) async fn unsubscribe(settings: &Settings) -> Report {
    let topic = settings.topic()?;
    let end = format!("{topic}/end");
    let (before, after) = ferromqtt::scope(settings.options()?, async |client| {
        let mut messages = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        let ends = client.subscribe(end.as_str()).qos(QoS::AtLeastOnce);
        let mut ends = ends.await?;
        publish(&client, topic, "1").await?;
        publish(&client, topic, LAST).await?;
        let before = until_last(&mut messages).await;
        messages.unsubscribe().await?;
        publish(&client, topic, "2").await?;
        publish(&client, &end, LAST).await?;
        until_last(&mut ends).await;
        let mut stray = client.messages(); // where it would be, since no stream asks for it
        let after: Vec<_> = std::iter::from_fn(|| stray.try_next()).collect();
        Ok::<_, Error>((before, after))
    })
    .await?;
    Ok(json!({ "before": numbers(&before), "after": numbers(&after) }))
}

/// What greets a subscription to `filter`, when `topic` has a retained message, and when it was taken away again.
pub(crate) async fn retained(settings: &Settings) -> Report {
    let (topic, filter) = (settings.topic()?, settings.filter()?);
    let (stored, removed) = ferromqtt::scope(settings.options()?, async |client| {
        store(&client, topic, "1").await?;
        let stored = greeting(&client, topic, filter).await?;
        store(&client, topic, "").await?;
        Ok::<_, Error>((stored, greeting(&client, topic, filter).await?))
    })
    .await?;
    Ok(json!({
        "stored": numbers(&stored),
        "flags": stored.iter().map(|message| message.retain).collect::<Vec<_>>(),
        "removed": numbers(&removed),
    }))
}

/// Publishes a retained message, and waits until it comes: some servers acknowledge it before they pass it on.
async fn store(client: &Client, topic: &str, payload: &'static str) -> Result<(), Error> {
    let mut live = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
    let message = client.publish(topic, payload).retain(true);
    message.qos(QoS::AtLeastOnce).await?;
    while let Some(message) = live.next().await {
        if message.payload == payload.as_bytes() && !message.retain {
            break;
        }
    }
    live.unsubscribe().await?;
    Ok(())
}

async fn greeting(client: &Client, topic: &str, filter: &str) -> Result<Vec<Message>, Error> {
    let mut messages = client.subscribe(filter).qos(QoS::AtLeastOnce).await?;
    publish(client, topic, LAST).await?;
    let received = until_last(&mut messages).await;
    messages.unsubscribe().await?;
    Ok(received)
}

/// `count` messages for two clients that share a subscription.
pub(crate) async fn shared(settings: &Settings) -> Report {
    let (topic, count) = (settings.topic()?, settings.count()?);
    let filter = format!("$share/group/{topic}");
    let end = format!("{topic}/end");
    let halves = ferromqtt::scope_with(settings.options()?, async |one| {
        ferromqtt::scope_with(settings.options()?, async |other| {
            let mut streams = Vec::new();
            for client in [&one, &other] {
                let shared = client.subscribe(filter.as_str()).qos(QoS::AtLeastOnce);
                streams.push(shared.and(end.as_str(), QoS::AtLeastOnce).await?);
            }
            for number in 0..count {
                publish(&one, topic, &number.to_string()).await?;
            }
            publish(&one, &end, LAST).await?;
            let mut halves = Vec::new();
            for stream in &mut streams {
                halves.push(numbers(&until_last(stream).await));
            }
            Ok::<_, Box<dyn StdError>>(halves)
        })
        .await
    })
    .await?;
    Ok(json!({ "halves": halves }))
}

pub(crate) async fn publish(client: &Client, topic: &str, payload: &str) -> Result<(), Error> {
    let message = client.publish(topic, payload.to_owned());
    message.qos(QoS::AtLeastOnce).await?;
    Ok(())
}

pub(crate) async fn until_last(messages: &mut Messages) -> Vec<Message> {
    let mut received = Vec::new();
    while let Some(message) = messages.next().await
        && message.payload != LAST
    {
        received.push(message);
    }
    received
}

/// The payloads; `null` for what is no number.
pub(crate) fn numbers(messages: &[Message]) -> Vec<Option<u32>> {
    let number = |message: &Message| std::str::from_utf8(&message.payload).ok()?.parse().ok();
    messages.iter().map(number).collect()
}
