//! Templates as filters, typed messages, and what is published by a codec.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::IntoFuture;

use ferromqtt::testing::TestBroker;
use ferromqtt::{
    Acknowledge, Bytes, Client, Connection, DeclaredSubscription, Decode, Encode, Error, Message,
    Options, PayloadError, PublishError, QoS, QueueOptions, Stream, SubscriptionFilter,
    TopicFilter, TopicName, TopicTemplate, TypedMessage, TypedMessages,
};

use crate::in_time;

/// Numbers as text.
struct Text;

impl Encode<u32> for Text {
    type Error = &'static str;

    fn encode(&self, value: &u32) -> Result<Bytes, Self::Error> {
        match value {
            13 => Err("not this one"),
            value => Ok(value.to_string().into()),
        }
    }
}

impl Encode<str> for Text {
    type Error = Infallible;

    fn encode(&self, value: &str) -> Result<Bytes, Self::Error> {
        Ok(Bytes::copy_from_slice(value.as_bytes()))
    }
}

impl Decode<u32> for Text {
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn decode(&self, payload: &Bytes) -> Result<u32, Self::Error> {
        Ok(std::str::from_utf8(payload)?.parse()?)
    }
}

/// Waits for what takes no long time.
async fn soon<T>(call: impl IntoFuture<Output = T>) -> T {
    in_time(call.into_future()).await
}

async fn connect(broker: &TestBroker) -> (Connection, Client) {
    let connection = Connection::open(Options::test(broker)).await.unwrap();
    let client = connection.client();
    (connection, client)
}

fn template(text: &str) -> TopicTemplate {
    text.parse().unwrap()
}

fn named(messages: &ferromqtt::Messages, message: &Message) -> Vec<(String, String)> {
    (messages.params(message).iter())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    (pairs.iter())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_template_subscribes_to_its_filter_and_the_stream_knows_the_names() {
    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let room = template("room/{room}/{rest#}");
    let mut messages = soon(client.subscribe(&room)).await.unwrap();
    assert_eq!(messages.results()[0].0, "room/+/#");
    client.publish("room/hall/temp/in", "21.5").await.unwrap();
    let message = soon(messages.next()).await.unwrap();
    let params = messages.params(&message);
    assert_eq!(params.get("room"), Some("hall"));
    assert_eq!(params.get("rest"), Some("temp/in"));
    assert_eq!(params.get("other"), None);

    // Nothing is named without a template, or with braces in a text.
    let mut plain = soon(client.subscribe("{a}")).await.unwrap();
    client.publish("{a}", "x").await.unwrap();
    let message = soon(plain.next()).await.unwrap();
    assert_eq!(named(&plain, &message), pairs(&[]));
    connection.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_first_template_with_names_that_matches_counts() {
    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let filters: [SubscriptionFilter; 4] = [
        TopicFilter::new("a/#").unwrap().into(),
        template("+/b").into(), // has no names
        template("a/{second}").into(),
        template("{first}/b").into(),
    ];
    assert_eq!(filters[2].template().unwrap().as_str(), "a/{second}");
    assert_eq!(
        (filters[1].template(), filters[1].filter().as_str()),
        (None, "+/b")
    );
    let subscribing = client
        .subscribe_all(filters)
        .and(template("x/{only}"), QoS::AtLeastOnce);
    let messages = soon(subscribing).await.unwrap();
    for (topic, expected) in [
        ("a/b", pairs(&[("second", "b")])),
        ("c/b", pairs(&[("first", "c")])),
        ("x/y", pairs(&[("only", "y")])),
        ("a/b/c", pairs(&[])),
    ] {
        let message = Message::new(TopicName::new(topic).unwrap(), "");
        assert_eq!(named(&messages, &message), expected, "{topic}");
    }
    connection.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shared_and_declared_subscriptions_know_their_names_too() {
    let broker = TestBroker::new();
    let shared = template("$share/workers/job/{id}");
    let declared = DeclaredSubscription::new(&shared).and(template("log/{level}"), QoS::default());
    let options = Options::test(&broker).subscription(declared);
    let connection = Connection::open(options).await.unwrap();
    let client = connection.client();
    let mut jobs = soon(client.declared(shared.filter())).await.unwrap();
    for (topic, expected) in [("job/7", ("id", "7")), ("log/high", ("level", "high"))] {
        client.publish(topic, "").await.unwrap();
        let message = soon(jobs.next()).await.unwrap();
        assert_eq!(named(&jobs, &message), pairs(&[expected]));
    }
    connection.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn values_arrive_in_order_and_a_bad_payload_is_an_item_of_its_own() {
    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let bounds = QueueOptions {
        acknowledge: Acknowledge::ByApplication,
        ..QueueOptions::DEFAULT
    };
    let subscribing = client.subscribe(template("n/{name}")).qos(QoS::AtLeastOnce);
    let messages = soon(subscribing.queue(bounds)).await.unwrap();
    let mut numbers: TypedMessages<u32, _> = messages.typed(Text);
    for payload in ["1", "secret", "3"] {
        let publish = client.publish_encoded("n/x", payload, &Text).unwrap();
        publish.qos(QoS::AtLeastOnce).await.unwrap();
    }
    let mut taken = Vec::new();
    for _ in 0..3 {
        let number = soon(numbers.next()).await.unwrap();
        assert_eq!(numbers.params(&number).get("name"), Some("x"));
        client.acknowledge(number.message.delivery.unwrap());
        taken.push(number);
    }
    assert_eq!(client.unacknowledged().messages, 0);
    assert_eq!(taken[0].value, Ok(1));
    assert_eq!(taken[2].value, Ok(3));
    assert_eq!(taken[1].message.payload, "secret");
    let error = taken[1].value.clone().unwrap_err();
    let expected = "the payload for \"n/x\" cannot be decoded by its codec";
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.topic(), "n/x");
    assert_eq!(
        error.source().unwrap().to_string(),
        "invalid digit found in string"
    );
    let shown = format!("{error:?} {:?} {numbers:?}", taken[1]);
    assert!(!shown.contains("secret"), "{shown}");
    assert_eq!(error, taken[1].value.clone().unwrap_err());
    assert_eq!(Error::from(error.clone()).to_string(), expected);
    assert_ne!(
        Err(error),
        TypedMessage::<u32>::decode(taken[1].message.clone(), &Text).value
    );
    connection.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_typed_stream_is_a_stream_and_gives_the_one_below_back() {
    fn is_stream<S: Stream<Item = TypedMessage<u32>> + Send + Sync + Unpin>(stream: S) -> S {
        stream
    }
    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let messages = soon(client.subscribe("n")).await.unwrap();
    let mut numbers = is_stream(messages.typed::<u32, _>(&Text));
    assert!(numbers.try_next().is_none());
    for _ in 0..3 {
        client
            .publish_encoded("n", &7_u32, &Text)
            .unwrap()
            .await
            .unwrap();
    }
    while numbers.messages().len() < 3 {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers.try_next().unwrap().value, Ok(7));
    let mut stream = std::pin::pin!(&mut numbers);
    let next = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx));
    assert_eq!(soon(next).await.unwrap().value, Ok(7));
    assert_eq!(numbers.messages_mut().try_next().unwrap().payload, "7");
    soon(numbers.into_messages().unsubscribe()).await.unwrap();
    connection.disconnect().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_not_sent() {
    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let mut messages = soon(client.subscribe("#")).await.unwrap();
    let error: PayloadError = client.publish_encoded("n", &13_u32, &Text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a value for \"n\" cannot be encoded by its codec"
    );
    assert_eq!(error.source().unwrap().to_string(), "not this one");
    // A topic that is none is an error of the publish, as of `Client::publish`.
    let wrong = client.publish_encoded("a/#", &13_u32, &Text).unwrap();
    assert!(matches!(wrong.await, Err(PublishError::Invalid(_))));
    client
        .publish_encoded("n", &14_u32, &Text)
        .unwrap()
        .await
        .unwrap();
    assert_eq!(soon(messages.next()).await.unwrap().payload, "14");
    connection.disconnect().await.unwrap();
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn json_of_serdes_types_goes_both_ways() {
    use ferromqtt::Json;

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Reading {
        celsius: f64,
    }

    #[derive(serde::Serialize)]
    struct Borrowed<'a> {
        room: &'a str,
    }

    let broker = TestBroker::new();
    let (connection, client) = connect(&broker).await;
    let mut readings = soon(client.subscribe("r")).await.unwrap().json::<Reading>();
    client
        .publish_json("r", &Reading { celsius: 21.5 })
        .unwrap()
        .await
        .unwrap();
    client
        .publish_json("r", &Borrowed { room: "hall" })
        .unwrap()
        .await
        .unwrap();
    let first = soon(readings.next()).await.unwrap();
    assert_eq!(first.message.payload, r#"{"celsius":21.5}"#);
    assert_eq!(first.value, Ok(Reading { celsius: 21.5 }));
    let second = soon(readings.next()).await.unwrap().value.unwrap_err();
    assert!(second.source().unwrap().is::<serde_json::Error>());
    let no_json = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(client.publish_json("r", &no_json).is_err());
    let value: Reading = Json
        .decode(&Json.encode(&Reading { celsius: 1.0 }).unwrap())
        .unwrap();
    assert_eq!(value, Reading { celsius: 1.0 });
    connection.disconnect().await.unwrap();
}
