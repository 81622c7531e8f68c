//! ntex-mqtt, on its own runtime, which is tokio's current-thread one underneath.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes as Payload;
use ntex_bytes::Bytes;
use ntex_mqtt::v3::client::{Client, Connect, MqttConnector, ProtocolMessage};
use ntex_mqtt::v3::{MqttSink, QoS};
use ntex_mqtt::{MqttServiceConfig, error::SendPacketError};
use ntex_service::Pipeline;
use ntex_service::cfg::SharedCfg;
use tokio::sync::mpsc;

use crate::measure::{
    Batch, Cost, Failure, HOST, IN_FLIGHT, Meter, Plan, Scenario, TOPIC, payloads,
};

pub(crate) fn block_on<T: 'static>(
    work: impl Future<Output = Result<T, Failure>> + 'static,
) -> Result<T, Failure> {
    ntex_rt::System::new("bench", ntex_net::DefaultRuntime).block_on(work)
}

pub(crate) async fn run(plan: Plan) -> Result<Cost, Failure> {
    let limits = MqttServiceConfig::new().set_max_send(IN_FLIGHT);
    let config: SharedCfg = SharedCfg::new("bench").add(limits).into();
    let connect = Connect::new(format!("{HOST}:{}", plan.port)).client_id("bench");
    let client = Pipeline::new(config, MqttConnector::new())
        .call(connect)
        .await
        .map_err(|error| format!("cannot connect: {error:?}"))?;
    match plan.scenario {
        Scenario::PublishQos0 => publish(client, plan, QoS::AtMostOnce).await,
        Scenario::PublishQos1 => publish(client, plan, QoS::AtLeastOnce).await,
        Scenario::ReceiveQos0 => receive(client, plan, QoS::AtMostOnce).await,
        Scenario::ReceiveQos1 => receive(client, plan, QoS::AtLeastOnce).await,
    }
}

async fn publish(client: Client, plan: Plan, qos: QoS) -> Result<Cost, Failure> {
    let sink = client.sink();
    ntex_rt::spawn(client.start_default());
    let payloads: Rc<Vec<Bytes>> = Rc::new(payloads().iter().map(own).collect());
    publish_batch(&sink, &payloads, 0..plan.warm_up, qos).await?;
    let meter = Meter::start();
    let batch = plan.warm_up..plan.warm_up + plan.messages;
    publish_batch(&sink, &payloads, batch, qos).await?;
    let cost = meter.stop();
    sink.close();
    Ok(cost)
}

fn own(payload: &Payload) -> Bytes {
    Bytes::copy_from_slice(payload)
}

/// Ends when the far side has all of them.
async fn publish_batch(
    sink: &MqttSink,
    payloads: &Rc<Vec<Bytes>>,
    numbers: Range<usize>,
    qos: QoS,
) -> Result<(), Failure> {
    if qos == QoS::AtMostOnce {
        for number in numbers {
            // It never waits for the socket; this does.
            if !sink.ready().await {
                return Err("the connection is closed".into());
            }
            let payload = payloads[number % payloads.len()].clone();
            sink.publish(TOPIC)
                .send_at_most_once(payload)
                .map_err(describe)?;
        }
        // Its acknowledgement follows everything before it.
        return sink
            .publish(TOPIC)
            .send_at_least_once(Bytes::new())
            .await
            .map_err(describe);
    }
    // A task for each message in flight, as ntex-mqtt has no receipts. They share the numbers.
    let next = Rc::new(Cell::new(numbers.start));
    let tasks: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (sink, payloads, next) = (sink.clone(), Rc::clone(payloads), Rc::clone(&next));
            ntex_rt::spawn(async move {
                while next.get() < numbers.end {
                    let number = next.replace(next.get() + 1);
                    let payload = payloads[number % payloads.len()].clone();
                    sink.publish(TOPIC).send_at_least_once(payload).await?;
                }
                Ok::<(), SendPacketError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await
            .map_err(|error| format!("a publishing task: {error:?}"))?
            .map_err(describe)?;
    }
    Ok(())
}

async fn receive(client: Client, plan: Plan, qos: QoS) -> Result<Cost, Failure> {
    let sink = client.sink();
    let batch = Rc::new(RefCell::new(Batch::new(plan.warm_up)));
    let (ended, mut ends) = mpsc::unbounded_channel();
    let batches = Rc::clone(&batch);
    ntex_rt::spawn(
        client.start(async move |message: ProtocolMessage| match message {
            ProtocolMessage::Publish(message) => {
                // A message whose end is in the next read waits for it, and others overtake it meanwhile.
                let number = batches.borrow_mut().begin();
                let payload = message
                    .read_all()
                    .await
                    .map_err(|error| format!("{error:?}"))?;
                match batches
                    .borrow_mut()
                    .finish(number, &message.packet().topic, &payload)
                {
                    Ok(false) => {}
                    end => drop(ended.send(end.map(drop))),
                }
                Ok::<_, String>(message.ack())
            }
            other => Err(format!("unexpected: {other:?}")),
        }),
    );
    // Each SUBSCRIBE starts one batch. The clock starts before it: no message comes earlier.
    subscribe(&sink, qos).await?;
    ends.recv().await.ok_or("the connection ended")??;
    *batch.borrow_mut() = Batch::new(plan.messages);
    let meter = Meter::start();
    subscribe(&sink, qos).await?;
    ends.recv().await.ok_or("the connection ended")??;
    let cost = meter.stop();
    sink.close();
    Ok(cost)
}

async fn subscribe(sink: &MqttSink, qos: QoS) -> Result<(), Failure> {
    sink.subscribe()
        .topic_filter(TOPIC.into(), qos)
        .send()
        .await
        .map_err(describe)?;
    Ok(())
}

fn describe(error: impl std::fmt::Debug) -> Failure {
    format!("ntex-mqtt: {error:?}").into()
}
