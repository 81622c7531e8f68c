//! Several filters in one SUBSCRIBE or UNSUBSCRIBE, and streams that share a filter.

use super::server::Server;
use super::*;
use crate::{
    FilterRefusal, FilterResult, ReasonCode, RetainHandling, SubscribeError, SubscriptionOptions,
    TopicFilter,
};

const REFUSED: ReasonCode = ReasonCode::NotAuthorized;
const GRANTED: ReasonCode = ReasonCode::GrantedQos1;

fn filter(name: &str) -> TopicFilter {
    name.try_into().unwrap()
}

fn result(reason: ReasonCode) -> FilterResult {
    FilterResult::of_suback(reason)
}

/// MQTT-3.8.4-5: one packet, one Reason Code for each filter, one stream for all.
#[tokio::test(start_paused = true)]
async fn several_filters_go_out_in_one_subscribe_and_feed_one_stream() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let own = SubscriptionOptions {
        retain_handling: RetainHandling::Never,
        ..QoS::ExactlyOnce.into()
    };
    let subscribing = client.subscribe_all(["t", "u/#"]).and("v", own);
    let (messages, sent) = tokio::join!(
        subscribing.qos(QoS::AtLeastOnce).into_future(),
        server.subscribe_all(&[GRANTED, ReasonCode::Success, ReasonCode::GrantedQos2])
    );
    let common = SubscriptionOptions::from(QoS::AtLeastOnce);
    let asked: Vec<_> = sent.filters.iter().collect();
    assert_eq!(asked, [("t", common), ("u/#", common), ("v", own)]);
    let mut messages = messages.unwrap();
    assert_eq!(messages.granted_qos(), QoS::ExactlyOnce);
    let results: Vec<_> = (messages.results().iter())
        .map(|(_, result)| result.reason())
        .collect();
    assert_eq!(messages.results()[1].1.to_string(), "Granted QoS 0 (0x00)");
    assert_eq!(
        results,
        [GRANTED, ReasonCode::Success, ReasonCode::GrantedQos2]
    );
    server.send(&message("x")).await;
    assert_eq!(messages.next().await.unwrap().payload, "x");
}

#[tokio::test(start_paused = true)]
async fn a_partly_refused_subscribe_is_an_error_and_takes_the_rest_back() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (refused, _) = tokio::join!(
        client.subscribe_all(["a", "b", "c"]).into_future(),
        server.subscribe_all(&[GRANTED, REFUSED, GRANTED])
    );
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("1 of 3"), "{error}");
    let SubscribeError::SomeRejected { results, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        results,
        [
            (filter("a"), result(GRANTED)),
            (filter("b"), result(REFUSED)),
            (filter("c"), result(GRANTED))
        ]
    );
    let confirmed = server.unsubscribe_all(&[ReasonCode::Success; 2]).await;
    assert_eq!(confirmed, ["a", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_stream_is_for_what_was_granted_and_there_is_none_without() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (messages, _) = tokio::join!(
        client.subscribe_all(["t", "b"]).partial(true).into_future(),
        server.subscribe_all(&[GRANTED, REFUSED])
    );
    let mut messages = messages.unwrap();
    assert_eq!(messages.results()[1], (filter("b"), result(REFUSED)));
    server.send(&message("x")).await;
    assert_eq!(messages.next().await.unwrap().payload, "x");
    let (refused, _) = tokio::join!(
        client.subscribe_all(["c", "d"]).partial(true).into_future(),
        server.subscribe_all(&[REFUSED, REFUSED])
    );
    let error = refused.unwrap_err();
    assert!(
        matches!(error, SubscribeError::SomeRejected { .. }),
        "{error:?}"
    );
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected()); // nothing was left to take back
    assert_eq!(end, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_one_filter_is_told_before_anything_is_sent() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let wrong = [
        client.subscribe_all(["a", "b/#/c"]).await.unwrap_err(),
        client
            .subscribe("a")
            .and("", QoS::AtMostOnce)
            .await
            .unwrap_err(),
        client.subscribe_all([""; 0]).await.unwrap_err(),
    ];
    for error in &wrong {
        assert!(matches!(error, SubscribeError::Invalid(_)), "{error:?}");
    }
    let text = wrong[0].to_string();
    assert!(text.ends_with("level: \"b/#/c\""), "{text}");
    let wrong = [
        client.unsubscribe_all(["a", "+b"]).await.unwrap_err(),
        client.unsubscribe_all([""; 0]).await.unwrap_err(),
    ];
    for error in wrong {
        let unsubscribes = matches!(error, SubscribeError::InvalidUnsubscribe(_));
        assert!(unsubscribes, "{error:?}");
    }
    let (end, _) = tokio::join!(connection.disconnect(), server.disconnected());
    assert_eq!(end, Ok(()));
}

/// MQTT-3.11.3-1 and MQTT-3.11.3-2: one Reason Code for each filter of UNSUBSCRIBE.
#[tokio::test(start_paused = true)]
async fn several_filters_are_unsubscribed_at_once_and_each_refusal_is_told() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let (done, filters) = tokio::join!(
        client.unsubscribe_all(["a", "b"]),
        server.unsubscribe_all(&[ReasonCode::Success, ReasonCode::NoSubscriptionExisted])
    );
    assert_eq!((done, filters), (Ok(()), vec!["a".into(), "b".into()]));
    let (refused, _) = tokio::join!(
        client.unsubscribe_all(["a", "b"]),
        server.unsubscribe_all(&[ReasonCode::Success, REFUSED])
    );
    assert_eq!(
        refused,
        Err(SubscribeError::SomeRejected {
            results: [("a", ReasonCode::Success), ("b", REFUSED)]
                .map(|(name, reason)| (filter(name), FilterResult::of_unsuback(reason)))
                .into(),
            properties: None,
        })
    );
}

async fn subscribed(
    client: &crate::Client,
    server: &mut Server<DuplexStream>,
    filters: &[&'static str],
) -> crate::Messages {
    let granted = vec![GRANTED; filters.len()];
    let (messages, _) = tokio::join!(
        client.subscribe_all(filters.iter().copied()).into_future(),
        server.subscribe_all(&granted)
    );
    messages.unwrap()
}

#[tokio::test(start_paused = true)]
async fn unsubscribing_a_stream_leaves_those_that_share_its_filter() {
    let (connection, mut server, _attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let first = subscribed(&client, &mut server, &["t", "u"]).await;
    let mut second = subscribed(&client, &mut server, &["t"]).await;
    let (ended, filters) = tokio::join!(
        first.unsubscribe(),
        server.unsubscribe_all(&[ReasonCode::Success])
    );
    assert_eq!((ended, filters), (Ok(()), vec!["u".into()]));
    server.send(&message("x")).await;
    assert_eq!(in_time(second.next()).await.unwrap().payload, "x");
    let third = subscribed(&client, &mut server, &["t"]).await;
    assert_eq!(in_time(third.unsubscribe()).await, Ok(())); // nothing to wait for
    let (ended, filter) = tokio::join!(second.unsubscribe(), server.unsubscribe());
    assert_eq!((ended, filter.as_str()), (Ok(()), "t"));
}

/// Who waits for messages that cannot come any more is told, at once or when there is a connection again.
#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_its_last_filter_is_unsubscribed() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut one = subscribed(&client, &mut server, &["t", "u"]).await;
    let mut two = subscribed(&client, &mut server, &["u"]).await;
    let waiting = tokio::spawn(async move { two.next().await });
    tokio::task::yield_now().await;
    let (done, _) = tokio::join!(client.unsubscribe("u"), server.unsubscribe());
    assert_eq!(done, Ok(()));
    assert_eq!(in_time(waiting).await.unwrap(), None);
    server.send(&message("x")).await;
    assert_eq!(in_time(one.next()).await.unwrap().payload, "x");
    let waiting = tokio::spawn(async move { one.next().await });
    drop(server);
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let stream = attempts.succeeds(4096);
    let (done, ()) = tokio::join!(client.unsubscribe("t"), async {
        let (mut server, _) = Server::accept(stream, true).await;
        server.unsubscribe().await;
    });
    assert_eq!(done, Ok(()));
    assert_eq!(in_time(waiting).await.unwrap(), None);
}

/// One filter of two is not renewed: the stream goes on for the other.
#[tokio::test(start_paused = true)]
async fn a_stream_goes_on_for_the_filters_that_were_renewed() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let mut messages = subscribed(&client, &mut server, &["t", "u"]).await;
    drop(server);
    let (mut server, _) = Server::accept(attempts.succeeds(4096), false).await;
    server.subscribe_all(&[GRANTED, REFUSED]).await;
    server.send(&message("x")).await;
    assert_eq!(in_time(messages.next()).await.unwrap().payload, "x");
    assert_eq!(
        messages.not_subscribed(),
        [(filter("u"), FilterRefusal::ByServer(REFUSED))]
    );
    drop(connection);
}

/// Whoever gives up waiting for UNSUBACK without a connection does not get the subscription back with the next one.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_unsubscribed_stays_so_when_nobody_waits_for_it() {
    let (connection, mut server, attempts) = connected(options(), 4096).await;
    let client = connection.client();
    let messages = subscribed(&client, &mut server, &["t"]).await;
    drop(server);
    while client.is_connected() {
        tokio::task::yield_now().await;
    }
    let limit = Duration::from_secs(1);
    assert!(timeout(limit, messages.unsubscribe()).await.is_err());
    let (mut server, _) = Server::accept(attempts.succeeds(4096), true).await;
    assert_eq!(server.unsubscribe().await, "t");
}
