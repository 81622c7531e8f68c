//! Enhanced authentication (section 4.12), as the server sees it.

use bytes::Bytes;
use ferromqtt_proto::packet::{Auth, ConnAck, Packet};

use super::server::Server;
use super::*;
use crate::{
    Authenticator, AuthenticatorError, Client, ConnectError, ConnectionError, ConnectionEvent,
    Options, OptionsError, Properties, ReAuthenticateError, ReasonCode,
};

/// Answers with what it was asked, behind `re:`; takes `wrong` for a wrong server.
struct Echo {
    exchange: usize,
}

impl Authenticator for Echo {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(Some(format!("exchange {}", self.exchange).into()))
    }

    fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        let challenge = challenge.ok_or("the server asks for nothing")?;
        Ok(Some([&b"re:"[..], &challenge].concat().into()))
    }

    fn accepted(&mut self, data: Option<Bytes>) -> Result<(), AuthenticatorError> {
        match data {
            Some(data) if data == "wrong" => Err("not the right server".into()),
            _ => Ok(()),
        }
    }
}

fn authenticating() -> Options {
    let count = std::sync::atomic::AtomicUsize::new(0);
    options().authenticator("ECHO", move || Echo {
        exchange: count.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
    })
}

fn properties(data: impl Into<Option<&'static str>>) -> Properties {
    Properties {
        authentication_method: Some("ECHO".try_into().unwrap()),
        authentication_data: data.into().map(Bytes::from),
        ..Properties::default()
    }
}

fn auth(reason: ReasonCode, data: impl Into<Option<&'static str>>) -> Packet {
    let properties = properties(data);
    Packet::Auth(Box::new(Auth { reason, properties }))
}

fn connack(data: &'static str) -> Packet {
    Packet::ConnAck(Box::new(ConnAck {
        session_present: false,
        reason: ReasonCode::Success,
        properties: properties(data),
    }))
}

/// Takes CONNECT, and asks one question.
async fn authenticate(stream: DuplexStream, beginning: &str) -> Server<DuplexStream> {
    let mut server = Server::new(stream);
    let connect = server.connect().await.properties;
    assert_eq!(
        connect.authentication_method,
        Some("ECHO".try_into().unwrap())
    );
    assert_eq!(connect.authentication_data.unwrap(), beginning);
    let go_on = ReasonCode::ContinueAuthentication;
    server.send(&auth(go_on, "who?")).await;
    assert_eq!(server.next().await, Some(auth(go_on, "re:who?")));
    server
}

async fn authenticated() -> (Connection, Client, Server<DuplexStream>, Attempts) {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let (connection, server) =
        tokio::join!(Connection::open_over(authenticating(), script), async {
            let mut server = authenticate(stream, "exchange 0").await;
            server.send(&connack("secret")).await;
            server
        });
    let connection = connection.unwrap();
    let client = connection.client();
    (connection, client, server, attempts)
}

/// MQTT-4.12.0-3, MQTT-4.12.0-5: each connection with an exchange of its own.
#[tokio::test(start_paused = true)]
async fn the_authenticator_answers_the_server_at_each_connection() {
    let (_connection, client, server, attempts) = authenticated().await;
    let mut events = client.events();
    let Some(ConnectionEvent::Connected { properties, .. }) = events.next().await else {
        panic!("connected");
    };
    assert_eq!(
        properties.authentication_data, None,
        "it is not for everybody"
    );
    drop(server);
    let mut server = authenticate(attempts.succeeds(4096), "exchange 1").await;
    server.send(&connack("secret")).await;
    while !client.is_connected() {
        tokio::task::yield_now().await;
    }
}

fn failed(why: &str) -> ConnectionError {
    ConnectionError::AuthenticationFailed(why.into())
}

#[tokio::test(start_paused = true)]
async fn an_authenticator_that_cannot_answer_ends_the_attempt_and_says_why() {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let (opened, ()) = tokio::join!(Connection::open_over(authenticating(), script), async {
        let mut server = Server::new(stream);
        server.connect().await;
        let nothing = auth(ReasonCode::ContinueAuthentication, None);
        server.send(&nothing).await;
        assert_eq!(server.next().await, None);
    });
    let error = not_connected(failed("the server asks for nothing"));
    assert_eq!(opened.unwrap_err(), error);
}

/// The server proves itself in CONNACK: what waits is not sent to the wrong one.
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_to_a_server_that_is_not_the_right_one() {
    let (attempts, script) = Attempts::new();
    let stream = attempts.succeeds(4096);
    let connection = Connection::start_over(&authenticating(), script).unwrap();
    let client = connection.client();
    let receipt = client.publish("t", "private").enqueue().await.unwrap();
    let mut server = authenticate(stream, "exchange 0").await;
    server.send(&connack("wrong")).await;
    let disconnect = server.disconnected().await;
    assert_eq!(disconnect.reason, ReasonCode::UnspecifiedError);
    drop(server);
    assert!(receipt.await.is_err());
    let end = in_time(connection.disconnect()).await;
    assert_eq!(end, Err(failed("not the right server")));
}

/// MQTT-4.12.1-1.
#[tokio::test(start_paused = true)]
async fn a_client_authenticates_anew() {
    let (_connection, client, mut server, _attempts) = authenticated().await;
    let again = tokio::spawn({
        let client = client.clone();
        async move { client.re_authenticate().await }
    });
    let asked = server.next().await;
    assert_eq!(asked, Some(auth(ReasonCode::ReAuthenticate, "exchange 1")));
    let second = client.re_authenticate().await;
    assert!(
        matches!(second, Err(ReAuthenticateError::Invalid(_))),
        "one at a time: {second:?}"
    );
    let go_on = ReasonCode::ContinueAuthentication;
    server.send(&auth(go_on, "still you?")).await;
    assert_eq!(server.next().await, Some(auth(go_on, "re:still you?")));
    server.send(&auth(ReasonCode::Success, "yes")).await;
    assert_eq!(in_time(again).await.unwrap(), Ok(()));
    assert!(client.is_connected());
}

/// MQTT-4.12.1-2: whichever side does not accept the other.
#[tokio::test(start_paused = true)]
async fn authenticating_anew_that_fails_ends_the_connection() {
    let (_connection, client, mut server, _attempts) = authenticated().await;
    let (failure, ()) = tokio::join!(client.re_authenticate(), async {
        server.next().await;
        server.send(&auth(ReasonCode::Success, "wrong")).await;
        server.disconnected().await;
        drop(server);
    });
    let cause = failed("not the right server");
    assert_eq!(
        failure,
        Err(ReAuthenticateError::Disconnected(cause.clone()))
    );
    assert_eq!(in_time(client.closed()).await, cause);
    let (_connection, client, mut server, _attempts) = authenticated().await;
    let (failure, ()) = tokio::join!(client.re_authenticate(), async {
        server.next().await;
        let refusal = packet::Disconnect::because(ReasonCode::NotAuthorized);
        server.send(&Packet::Disconnect(Box::new(refusal))).await;
        drop(server);
    });
    assert!(
        matches!(
            failure,
            Err(ReAuthenticateError::Disconnected(
                ConnectionError::Disconnected {
                    reason: ReasonCode::NotAuthorized,
                    ..
                }
            ))
        ),
        "{failure:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn without_an_authenticator_there_is_nothing_to_authenticate_with() {
    let (connection, _server, _attempts) = connected(options(), 4096).await;
    let error = connection.client().re_authenticate().await;
    assert_eq!(error, Err(ReAuthenticateError::NoAuthenticator));
    let (_attempts, script) = Attempts::new();
    let alone = options().properties(properties(None));
    let error = Connection::open_over(alone, script).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Options(OptionsError::Invalid(_))),
        "{error:?}"
    );
}
