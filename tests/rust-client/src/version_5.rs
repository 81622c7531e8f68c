//! What only 5.0 has.

use std::error::Error as StdError;
use std::time::Duration;

use ferromqtt::{Error, Properties, QoS};
use serde_json::{Value, json};

use crate::messages::{numbers, publish, until_last};
use crate::settings::Settings;

type Report = Result<Value, Box<dyn StdError>>;

/// Properties of a message, there and back.
pub(crate) async fn properties(settings: &Settings) -> Report {
    let topic = settings.topic()?;
    let sent = Properties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(60),
        content_type: Some("text/plain".try_into()?),
        response_topic: Some("answers".try_into()?),
        correlation_data: Some(vec![0, 1].into()),
        user_properties: [
            ("a".try_into()?, "1".try_into()?),
            ("a".try_into()?, "2".try_into()?),
        ]
        .into(),
        ..Properties::default()
    };
    let numbered = Properties {
        subscription_identifiers: vec![300],
        ..Properties::default()
    };
    let received = ferromqtt::scope(settings.options()?, async |client| {
        let subscribing = client.subscribe(topic).properties(numbered);
        let mut messages = subscribing.qos(QoS::AtLeastOnce).await?;
        let message = client.publish(topic, "1").properties(sent.clone());
        message.qos(QoS::AtLeastOnce).await?;
        Ok::<_, Error>(messages.next().await)
    })
    .await?;
    let mut got = *received
        .and_then(|message| message.properties)
        .ok_or("no properties")?;
    let expiry = got.message_expiry_interval.replace(60);
    let identifiers = std::mem::take(&mut got.subscription_identifiers);
    Ok(json!({ "same": got == sent, "expiry": expiry, "identifiers": identifiers }))
}

/// A request, and its response from the same program.
pub(crate) async fn request(settings: &Settings) -> Report {
    let topic = settings.topic()?;
    let answer = ferromqtt::scope(settings.options()?, async |client| {
        let mut questions = client.subscribe(topic).await?;
        let responder = client.clone();
        let answering = tokio::spawn(async move {
            match questions.next().await {
                Some(question) => responder.respond(&question, "42").await.map(drop),
                None => Ok(()),
            }
        });
        let answer = client.request(topic, "6 * 7");
        let answer = answer.timeout(Duration::from_secs(20)).await?;
        answering.abort();
        Ok::<_, Error>(answer)
    })
    .await?;
    Ok(json!({ "answer": numbers(&[answer]) }))
}

/// `count` messages to ten topics, with as many Topic Aliases as the server allows, and as we allow it.
pub(crate) async fn aliases(settings: &Settings) -> Report {
    let (topic, count) = (settings.topic()?, settings.count()?);
    let allowed = Properties {
        topic_alias_maximum: Some(5),
        ..Properties::default()
    };
    let options = settings.options()?.properties(allowed).topic_aliases_out(5);
    let received = ferromqtt::scope(options, async |client| {
        let subscribing = client.subscribe(format!("{topic}/#"));
        let mut messages = subscribing.qos(QoS::AtLeastOnce).await?;
        for number in 0..count {
            publish(
                &client,
                &format!("{topic}/{}", number % 10),
                &number.to_string(),
            )
            .await?;
        }
        publish(&client, topic, "last").await?;
        Ok::<_, Error>(until_last(&mut messages).await)
    })
    .await?;
    let right =
        |(number, topic_got): (usize, &str)| topic_got == format!("{topic}/{}", number % 10);
    let topics = received.iter().map(|message| message.topic.as_str());
    Ok(json!({ "received": numbers(&received), "topics": topics.enumerate().all(right) }))
}
