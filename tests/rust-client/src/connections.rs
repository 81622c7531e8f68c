//! Logging in, being taken over, dying, being cut off and coming back.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::thread;
use std::time::Duration;

use ferromqtt::{Connection, Error, Messages, Options, QoS, Reconnect, Will};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::failure::describe;
use crate::messages::{numbers, publish, until_last};
use crate::settings::Settings;

type Report = Result<Value, Box<dyn StdError>>;

/// Connects, and sends one message to itself.
pub(crate) async fn connect(settings: &Settings) -> Report {
    let topic = settings.topic()?;
    let received = ferromqtt::scope(settings.options()?, async |client| {
        let mut messages = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        publish(&client, topic, "1").await?;
        publish(&client, topic, "last").await?;
        Ok::<_, Error>(until_last(&mut messages).await)
    })
    .await?;
    Ok(json!({ "received": numbers(&received) }))
}

/// Two clients of one name: how the first one ends, and whether the second lives.
pub(crate) async fn takeover(settings: &Settings) -> Report {
    let options = settings
        .options()?
        .client_identifier(settings.identifier()?);
    let first = Connection::open(options.clone().reconnect(None)).await;
    let connection = first.map_err(Error::from)?;
    let first = connection.client();
    let topic = settings.topic()?;
    let received = ferromqtt::scope(options, async |second| {
        let ended = first.closed().await;
        let mut messages = second.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        publish(&second, topic, "1").await?;
        publish(&second, topic, "last").await?;
        Ok::<_, Error>((describe(&ended), until_last(&mut messages).await))
    })
    .await?;
    Ok(json!({ "first": received.0, "second": numbers(&received.1) }))
}

/// What a witness sees of the will of a client that dies, then of one that leaves.
pub(crate) async fn will(settings: &Settings) -> Report {
    let (topic, qos) = (settings.topic()?, settings.qos()?);
    let will = Will::new(topic, "1").qos(qos);
    let mortal = settings.options()?.will(will);
    let (died, left) = ferromqtt::scope(settings.options()?, async |witness| {
        let mut messages = witness.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        let dying = mortal.clone();
        thread::spawn(move || die(dying));
        let died: Vec<_> = messages.next().await.into_iter().collect();

        ferromqtt::scope(mortal, async |_| Ok::<_, Error>(())).await?;
        publish(&witness, topic, "last").await?;
        Ok::<_, Error>((died, until_last(&mut messages).await))
    })
    .await?;
    Ok(json!({
        "died": numbers(&died),
        "qos": died.iter().map(|message| message.qos.value()).collect::<Vec<_>>(),
        "left": numbers(&left),
    }))
}

/// The runtime is gone before anything can say goodbye.
fn die(options: Options) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let _connection = runtime.block_on(Connection::open(options))?;
    drop(runtime);
    Ok(())
}

/// `count` messages for a session while its client is away.
pub(crate) async fn missed(settings: &Settings) -> Report {
    let (topic, count) = (settings.topic()?, settings.count()?);
    let lasting = settings.lasting(settings.options()?)?;
    ferromqtt::scope(lasting.clone(), async |client| {
        let messages = client.subscribe(topic).qos(QoS::AtLeastOnce).await?;
        messages.detach();
        Ok::<_, Error>(())
    })
    .await?;
    ferromqtt::scope(settings.options()?, async |publisher| {
        for number in 0..count {
            publish(&publisher, topic, &number.to_string()).await?;
        }
        publish(&publisher, topic, "last").await
    })
    .await?;
    let received = ferromqtt::scope(lasting, async |client| {
        let mut messages = client.messages();
        let received = until_last(&mut messages).await;
        client.unsubscribe(topic).await?;
        Ok::<_, Error>(received)
    })
    .await?;
    Ok(json!({ "received": numbers(&received) }))
}

/// `count` messages to oneself, by a way on which connections are cut. The client has to make that good by itself.
pub(crate) async fn cut(settings: &Settings) -> Report {
    let (topic, count, qos) = (settings.topic()?, settings.count()?, settings.qos()?);
    let quickly = Reconnect {
        initial_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(200),
        initial: true,
        ..Reconnect::default()
    };
    let options = settings.lasting(settings.detour()?)?.reconnect(quickly);
    let options = options.max_in_flight(settings.in_flight()?);
    let connection = Connection::open(options).await.map_err(Error::from)?;
    let client = connection.client();
    let subscribing = client.subscribe(topic).qos(qos);
    let mut messages = subscribing.await.map_err(Error::from)?;
    let mut receipts = Vec::new();
    for number in 0..count {
        let message = client.publish(topic, number.to_string()).qos(qos);
        receipts.push(message.enqueue().await.map_err(Error::from)?);
    }
    let mut failures = Vec::new();
    for receipt in receipts {
        if let Err(error) = receipt.await {
            failures.push(describe(&Error::from(error)));
        }
    }
    // What the server has to send once more may come behind what is new.
    let (mut received, mut different) = (Vec::new(), HashSet::new());
    while different.len() < count
        && let Ok(Some(message)) = timeout(Duration::from_secs(10), messages.next()).await
    {
        different.insert(message.payload.clone());
        received.push(message);
    }
    let message = client.publish(topic, "last").qos(qos);
    message.await.map_err(Error::from)?;
    received.extend(until_last(&mut messages).await);
    let mut stray = client.messages(); // where there should be none
    let stray: Vec<_> = std::iter::from_fn(|| stray.try_next()).collect();
    let lost = messages.take_lost();
    unsubscribe(messages).await?;
    let stats = client.stats();
    connection.disconnect().await?;
    Ok(json!({
        "received": numbers(&received),
        "stray": numbers(&stray),
        "lost": lost,
        "failures": failures,
        "connections": stats.connections,
        "resent": stats.resent,
    }))
}

async fn unsubscribe(messages: Messages) -> Result<(), Error> {
    Ok(messages.unsubscribe().await?)
}

/// Nothing to do for longer than the server waits for a packet.
pub(crate) async fn idle(settings: &Settings) -> Report {
    let topic = settings.topic()?;
    let options = settings
        .options()?
        .keep_alive(Duration::from_secs(1))
        .reconnect(None);
    let ended = ferromqtt::scope(options, async |client| {
        let ended = timeout(Duration::from_millis(1800), client.closed()).await;
        publish(&client, topic, "still here").await?;
        Ok::<_, Error>(ended.is_ok())
    })
    .await?;
    Ok(json!({ "ended": ended }))
}
