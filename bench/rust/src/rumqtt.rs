//! rumqttc: whoever waits polls its event loop.

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};

use crate::measure::{
    Batch, Cost, Failure, HOST, IN_FLIGHT, Meter, Plan, Scenario, TOPIC, payloads,
};

pub(crate) async fn run(plan: Plan) -> Result<Cost, Failure> {
    let mut options = MqttOptions::new("bench", HOST, plan.port);
    options.set_inflight(IN_FLIGHT);
    let (client, events) = AsyncClient::new(options, usize::from(IN_FLIGHT));
    match plan.scenario {
        Scenario::PublishQos0 => publish(client, events, plan, QoS::AtMostOnce).await,
        Scenario::PublishQos1 => publish(client, events, plan, QoS::AtLeastOnce).await,
        Scenario::ReceiveQos0 => receive(client, events, plan, QoS::AtMostOnce).await,
        Scenario::ReceiveQos1 => receive(client, events, plan, QoS::AtLeastOnce).await,
    }
}

async fn publish(
    client: AsyncClient,
    mut events: EventLoop,
    plan: Plan,
    qos: QoS,
) -> Result<Cost, Failure> {
    let payloads = payloads();
    publish_batch(&client, &mut events, &payloads, 0..plan.warm_up, qos).await?;
    let meter = Meter::start();
    let batch = plan.warm_up..plan.warm_up + plan.messages;
    publish_batch(&client, &mut events, &payloads, batch, qos).await?;
    let cost = meter.stop();
    disconnect(&client, &mut events).await?;
    Ok(cost)
}

/// Ends when the far side has all of them. rumqttc keeps to its limit in flight by itself.
async fn publish_batch(
    client: &AsyncClient,
    events: &mut EventLoop,
    payloads: &[Bytes],
    numbers: std::ops::Range<usize>,
    qos: QoS,
) -> Result<(), Failure> {
    let to_acknowledge = if qos == QoS::AtMostOnce {
        1
    } else {
        numbers.len()
    };
    let publishing = async {
        for number in numbers {
            let payload = payloads[number % payloads.len()].clone();
            client.publish_bytes(TOPIC, qos, false, payload).await?;
        }
        if qos == QoS::AtMostOnce {
            // Its acknowledgement follows everything before it.
            client
                .publish_bytes(TOPIC, QoS::AtLeastOnce, false, Bytes::new())
                .await?;
        }
        Ok::<(), Failure>(())
    };
    let acknowledged = async {
        let mut acknowledged = 0;
        while acknowledged < to_acknowledge {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                acknowledged += 1;
            }
        }
        Ok::<(), Failure>(())
    };
    tokio::try_join!(publishing, acknowledged)?;
    Ok(())
}

async fn receive(
    client: AsyncClient,
    mut events: EventLoop,
    plan: Plan,
    qos: QoS,
) -> Result<Cost, Failure> {
    // Each SUBSCRIBE starts one batch. The clock starts before it: no message comes earlier.
    let mut batch = Batch::new(plan.warm_up);
    client.subscribe(TOPIC, qos).await?;
    receive_batch(&mut events, &mut batch).await?;
    let mut batch = Batch::new(plan.messages);
    let meter = Meter::start();
    client.subscribe(TOPIC, qos).await?;
    receive_batch(&mut events, &mut batch).await?;
    let cost = meter.stop();
    disconnect(&client, &mut events).await?;
    Ok(cost)
}

async fn receive_batch(events: &mut EventLoop, batch: &mut Batch) -> Result<(), Failure> {
    loop {
        if let Event::Incoming(Packet::Publish(message)) = events.poll().await?
            && batch.take(&message.topic, &message.payload)?
        {
            return Ok(());
        }
    }
}

/// Acknowledgements that are still buffered leave before DISCONNECT.
async fn disconnect(client: &AsyncClient, events: &mut EventLoop) -> Result<(), Failure> {
    client.disconnect().await?;
    loop {
        if let Event::Outgoing(rumqttc::Outgoing::Disconnect) = events.poll().await? {
            return Ok(());
        }
    }
}
