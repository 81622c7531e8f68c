//! Requests and responses, as the server sees them.

use ferromqtt_proto::packet::{self, Ack, Packet};
use tokio::time::Instant;

use super::server::Server;
use super::*;
use crate::{Client, Delivery, FilterRefusal, Properties, PublishError, ReasonCode, RequestError};

/// Answers the SUBSCRIBE to the Response Topic, and takes the request.
async fn request(server: &mut Server<DuplexStream>) -> packet::PublishPacket {
    server.subscribe(ReasonCode::GrantedQos1).await;
    server.publish().await
}

fn response(request: &packet::PublishPacket, payload: &'static str) -> Packet {
    let asked = request.properties.clone().unwrap();
    Packet::Publish(packet::PublishPacket {
        topic: asked.response_topic.unwrap(),
        packet_id: None,
        qos: QoS::AtMostOnce,
        properties: Some(Box::new(Properties {
            correlation_data: asked.correlation_data,
            ..Properties::default()
        })),
        payload: payload.into(),
        ..request.clone()
    })
}

async fn ask(client: &Client) -> Result<crate::Message, RequestError> {
    client.request("service", "ping").await
}

#[tokio::test(start_paused = true)]
async fn a_request_completes_with_its_response() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (answer, ()) = tokio::join!(ask(&client), async {
        let asked = request(&mut server).await;
        assert_eq!(
            (asked.topic.as_str(), asked.qos),
            ("service", QoS::AtLeastOnce)
        );
        server.puback(asked.packet_id, ReasonCode::Success).await;
        server.send(&response(&asked, "pong")).await;
    });
    assert_eq!(answer.unwrap().payload, "pong");
}

/// Nobody who waits is forgotten, and what comes too late meets nobody.
#[tokio::test(start_paused = true)]
async fn a_request_that_gets_no_response_ends_in_time() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let limit = Duration::from_secs(3);
    let start = Instant::now();
    let asking = client.request("service", "ping").timeout(limit);
    let (error, asked) = tokio::join!(asking.into_future(), async {
        let asked = request(&mut server).await;
        server.puback(asked.packet_id, ReasonCode::Success).await;
        asked
    });
    let delivery = Delivery::Unknown;
    assert_eq!(error, Err(RequestError::TimedOut { limit, delivery }));
    assert_eq!(start.elapsed(), limit);
    server.send(&response(&asked, "too late")).await;
    let (answer, ()) = tokio::join!(ask(&client), async {
        let asked = server.publish().await;
        server.send(&response(&asked, "in time")).await;
    });
    assert_eq!(answer.unwrap().payload, "in time");
    assert!(client.messages().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_not_been_sent_in_time_is_withdrawn() {
    let (connection, server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    drop(server);
    let limit = Duration::from_secs(3);
    let asking = client.request("service", "withdrawn").timeout(limit);
    let error = in_time(asking.into_future()).await.unwrap_err();
    let delivery = Delivery::NotSent;
    assert_eq!(error, RequestError::TimedOut { limit, delivery });
    assert_eq!(error.delivery(), Delivery::NotSent);
    let text = error.to_string();
    assert!(
        text.contains("within 3 s: ") && text.contains("withdrawn"),
        "{text}"
    );
    let next = client.publish("t", "next").enqueue().await.unwrap();
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    let publish = loop {
        match server.next().await {
            Some(Packet::Publish(publish)) => break publish,
            Some(Packet::Subscribe(_)) => {} // the Response Topic, which later requests need too
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(publish.payload, "next");
    next.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn why_there_is_no_response_is_told() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (refused, asked) = tokio::join!(ask(&client), async {
        server.subscribe(ReasonCode::NotAuthorized).await;
        server.next().await
    });
    assert!(
        matches!(
            refused,
            Err(RequestError::Unanswerable {
                refusal: FilterRefusal::ByServer(ReasonCode::NotAuthorized),
                ..
            })
        ),
        "{refused:?} {asked:?}"
    );
    let (nobody, ()) = tokio::join!(ask(&client), async {
        let asked = request(&mut server).await;
        let nobody = Ack::new(asked.packet_id.unwrap(), ReasonCode::NoMatchingSubscribers);
        server.send(&Packet::PubAck(nobody)).await;
    });
    assert_eq!(nobody, Err(RequestError::NoResponder));
    let (rejected, ()) = tokio::join!(ask(&client), async {
        let asked = server.publish().await;
        server
            .puback(asked.packet_id, ReasonCode::QuotaExceeded)
            .await;
    });
    assert!(
        matches!(
            rejected,
            Err(RequestError::Publish(PublishError::Rejected { .. }))
        ),
        "{rejected:?}"
    );
    let wrong = client.request("no/+", "").await;
    assert!(
        matches!(wrong, Err(RequestError::Publish(PublishError::Invalid(_)))),
        "{wrong:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_with_the_connection() {
    let (connection, mut server, _attempts) = connected(options().reconnect(None), 4096).await;
    let client = connection.client();
    let asking = tokio::spawn(async move { ask(&client).await });
    let asked = request(&mut server).await;
    server.puback(asked.packet_id, ReasonCode::Success).await;
    drop(server);
    let error = in_time(asking).await.unwrap();
    assert!(
        matches!(
            error,
            Err(RequestError::Publish(PublishError::Disconnected { .. }))
        ),
        "{error:?}"
    );
}

/// Section 3.3.2.3.6: the Correlation Data goes back as it came.
#[tokio::test(start_paused = true)]
async fn a_responder_answers_to_the_response_topic() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let Packet::Publish(mut asking) = message("ping") else {
        panic!("a PUBLISH");
    };
    asking.properties = Some(Box::new(Properties {
        response_topic: Some("answers".try_into().unwrap()),
        correlation_data: Some("7".into()),
        ..Properties::default()
    }));
    server.send(&Packet::Publish(asking)).await;
    server.send(&message("no question")).await;
    let mut messages = client.messages();
    let question = messages.next().await.unwrap();
    let content = Properties {
        content_type: Some("text".try_into().unwrap()),
        ..Properties::default()
    };
    let responding = client.respond(&question, "pong").properties(content);
    responding.await.unwrap();
    let sent = server.publish().await;
    let properties = sent.properties.unwrap();
    assert_eq!(
        (sent.topic.as_str(), sent.payload),
        ("answers", "pong".into())
    );
    assert_eq!(properties.correlation_data, Some("7".into()));
    assert_eq!(properties.content_type, Some("text".try_into().unwrap()));
    let other = messages.next().await.unwrap();
    let error = client.respond(&other, "").await.unwrap_err();
    assert!(error.to_string().contains("no response"), "{error}");
}
