//! ferromqtt.

use std::collections::VecDeque;

use bytes::Bytes;
use ferromqtt::{
    Client, Connection, Messages, Options, ProtocolVersion, QoS, QueueOptions, TopicName,
};

use crate::measure::{
    Batch, Cost, Failure, HOST, IN_FLIGHT, Meter, Plan, Scenario, TOPIC, payloads,
};

pub(crate) async fn run(plan: Plan) -> Result<Cost, Failure> {
    let options = Options::new(HOST, plan.port).protocol(ProtocolVersion::V311);
    let connection = Connection::open(options.max_in_flight(IN_FLIGHT)).await?;
    let client = connection.client();
    let cost = match plan.scenario {
        Scenario::PublishQos0 => publish(&client, plan, QoS::AtMostOnce).await?,
        Scenario::PublishQos1 => publish(&client, plan, QoS::AtLeastOnce).await?,
        Scenario::ReceiveQos0 => receive(&client, plan, QoS::AtMostOnce).await?,
        Scenario::ReceiveQos1 => receive(&client, plan, QoS::AtLeastOnce).await?,
    };
    connection.disconnect().await?;
    Ok(cost)
}

async fn publish(client: &Client, plan: Plan, qos: QoS) -> Result<Cost, Failure> {
    let topic: TopicName = TOPIC.try_into()?;
    let payloads = payloads();
    let mut next = payloads.iter().cycle();
    publish_batch(client, &topic, next.by_ref().take(plan.warm_up), qos).await?;
    let meter = Meter::start();
    publish_batch(client, &topic, next.take(plan.messages), qos).await?;
    Ok(meter.stop())
}

/// Ends when the far side has all of them.
async fn publish_batch<'a>(
    client: &Client,
    topic: &TopicName,
    payloads: impl Iterator<Item = &'a Bytes>,
    qos: QoS,
) -> Result<(), Failure> {
    if qos == QoS::AtMostOnce {
        for payload in payloads {
            client.publish(topic.clone(), payload.clone()).await?;
        }
        // Its acknowledgement follows everything before it.
        client
            .publish(topic.clone(), "")
            .qos(QoS::AtLeastOnce)
            .await?;
        return Ok(());
    }
    let mut receipts = VecDeque::with_capacity(usize::from(IN_FLIGHT));
    for payload in payloads {
        if receipts.len() == usize::from(IN_FLIGHT)
            && let Some(oldest) = receipts.pop_front()
        {
            oldest.await?;
        }
        let publish = client.publish(topic.clone(), payload.clone()).qos(qos);
        receipts.push_back(publish.enqueue().await?);
    }
    for receipt in receipts {
        receipt.await?;
    }
    Ok(())
}

async fn receive(client: &Client, plan: Plan, qos: QoS) -> Result<Cost, Failure> {
    // Without a limit: what is measured is how messages are received, and not how the far side is held back.
    let queue = QueueOptions::UNBOUNDED;
    // Each SUBSCRIBE starts one batch. The clock starts before it: no message comes earlier.
    let mut batch = Batch::new(plan.warm_up);
    let mut messages = client.subscribe(TOPIC).qos(qos).queue(queue).await?;
    receive_batch(&mut messages, &mut batch).await?;
    messages.detach();
    let mut batch = Batch::new(plan.messages);
    let meter = Meter::start();
    let mut messages = client.subscribe(TOPIC).qos(qos).queue(queue).await?;
    receive_batch(&mut messages, &mut batch).await?;
    Ok(meter.stop())
}

async fn receive_batch(messages: &mut Messages, batch: &mut Batch) -> Result<(), Failure> {
    while let Some(message) = messages.next().await {
        if batch.take(message.topic.as_ref(), &message.payload)? {
            return Ok(());
        }
    }
    Err("the messages ended before the batch".into())
}
