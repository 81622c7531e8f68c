//! Credentials that are asked for at each attempt to connect.

use std::future::pending;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ferromqtt_proto::packet::{ConnAck, Connect};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::server::Server;
use super::*;
use crate::{
    ConnectAttempt, ConnectError, ConnectionError, ConnectionEvent, Credentials, CredentialsError,
    CredentialsProvider, Properties, ReasonCode, Reconnect, TransportError,
};

/// Gives what the test has put down for each attempt, and notes what it was asked; at the end of the list never answers.
#[derive(Clone)]
struct Planned {
    answers: Arc<Mutex<Vec<Result<Credentials, &'static str>>>>,
    asked: Arc<Mutex<Vec<ConnectAttempt>>>,
    /// Closed when the last call that is under way is dropped, and this too.
    waiting: mpsc::Sender<()>,
}

impl Planned {
    fn new(
        answers: impl IntoIterator<Item = Result<Credentials, &'static str>>,
    ) -> (Self, mpsc::Receiver<()>) {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        let (waiting, given_up) = mpsc::channel(1);
        let planned = Self {
            answers: Arc::new(Mutex::new(answers)),
            asked: Arc::default(),
            waiting,
        };
        (planned, given_up)
    }

    fn asked(&self) -> Vec<ConnectAttempt> {
        self.asked.lock().unwrap().clone()
    }
}

impl CredentialsProvider for Planned {
    async fn credentials(&self, attempt: ConnectAttempt) -> Result<Credentials, CredentialsError> {
        let _under_way = self.waiting.clone();
        self.asked.lock().unwrap().push(attempt);
        let answer = self.answers.lock().unwrap().pop();
        match answer {
            Some(answer) => Ok(answer?),
            None => pending().await,
        }
    }
}

fn password(password: &'static str) -> Credentials {
    Credentials::new().password(password)
}

/// Options that also try the first connection again.
fn patient() -> Options {
    options().reconnect(Reconnect {
        initial: true,
        ..Reconnect::default()
    })
}

fn of(connect: &Connect) -> (Option<&str>, Option<&Bytes>) {
    let user_name = connect.user_name.as_ref().map(|name| name.as_str());
    (user_name, connect.password.as_ref())
}

async fn refuse(stream: DuplexStream, reason: ReasonCode) -> Connect {
    let mut server = Server::new(stream);
    let connect = server.connect().await;
    let connack = ConnAck {
        session_present: false,
        reason,
        properties: Properties::default(),
    };
    server.send(&Packet::ConnAck(Box::new(connack))).await;
    connect
}

fn no_credentials(why: &str) -> ConnectionError {
    ConnectionError::NoCredentials(why.into())
}

/// What the next event says of the end of an attempt, and whether another one follows.
async fn end_of_attempt(events: &mut crate::Events) -> (ConnectionError, bool) {
    match in_time(events.next()).await {
        Some(ConnectionEvent::Disconnected {
            cause, retry_at, ..
        }) => (cause, retry_at.is_some()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_connection_is_made_with_credentials_of_its_own() {
    let (attempts, script) = Attempts::new();
    let answers = [
        password("one"),
        Credentials::new().user_name("other").password("two"),
        Credentials::new(),
    ];
    let (planned, _) = Planned::new(answers.map(Ok));
    let options = options().user_name("station-7").password("of the options");
    let options = options.credentials(planned.clone());
    let connection = Connection::start_over(&options, script).unwrap();
    for expected in [
        ("station-7", "one"),
        ("other", "two"),
        ("station-7", "of the options"), // what is absent
    ] {
        let (server, connect) = Server::accept(attempts.succeeds(4096), false).await;
        let (user_name, password) = (Some(expected.0), Some(Bytes::from(expected.1)));
        assert_eq!(of(&connect), (user_name, password.as_ref()));
        in_time(connection.client().connected()).await.unwrap();
        drop(server);
    }
}

/// It is told where to, how often, and why the last attempt has ended.
#[tokio::test(start_paused = true)]
async fn the_provider_is_told_about_the_attempt() {
    let (attempts, script) = Attempts::new();
    let (planned, _) = Planned::new([Ok(password("")), Err("busy"), Ok(password(""))]);
    let options = patient().credentials(planned.clone());
    let connection = Connection::start_over(&options, script).unwrap();
    refuse(attempts.succeeds(4096), ReasonCode::NotAuthorized).await;
    let (_server, _) = Server::accept(attempts.succeeds(4096), false).await;
    in_time(connection.client().connected()).await.unwrap();
    let asked = planned.asked();
    for (number, attempt) in asked.iter().enumerate() {
        assert_eq!(attempt.number as usize, number);
        assert_eq!(attempt.server.to_string(), "mqtt://in memory:1883");
    }
    let ends: Vec<_> = asked.iter().map(|attempt| &attempt.last_end).collect();
    let [None, Some(ConnectionError::Refused { .. }), Some(busy)] = &*ends else {
        panic!("{ends:?}");
    };
    assert_eq!(*busy, no_credentials("busy"));
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_at_the_first_connection_is_told_as_the_cause() {
    for options in [options(), options().reconnect(None)] {
        let (attempts, script) = Attempts::new();
        let (planned, _) = Planned::new([Err("the token service is busy")]);
        let opened = Connection::open_over(options.credentials(planned), script).await;
        let cause = no_credentials("the token service is busy");
        assert_eq!(opened.unwrap_err(), not_connected(cause));
        in_time(attempts.0.closed()).await; // and nothing was opened
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_is_asked_again_after_a_pause() {
    let (attempts, script) = Attempts::new();
    let failures = ["busy", "still busy"];
    let (planned, _) = Planned::new([Err(failures[0]), Err(failures[1]), Ok(password("p"))]);
    let options = patient().credentials(planned.clone());
    let start = Instant::now();
    let connection = Connection::start_over(&options, script).unwrap();
    let mut events = connection.client().events();
    for why in failures {
        let reported = end_of_attempt(&mut events).await;
        assert_eq!(reported, (no_credentials(why), true));
    }
    let (_server, connect) = Server::accept(attempts.succeeds(4096), false).await;
    assert_eq!(of(&connect), (None, Some(&Bytes::from("p"))));
    in_time(connection.client().connected()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(250 + 500));
    assert_eq!(planned.asked().len(), 3);
}

/// It has no more time than the whole attempt, and is dropped then.
#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_is_given_up_in_time() {
    let (_attempts, script) = Attempts::new();
    let (planned, mut given_up) = Planned::new([]);
    let options = options().connect_timeout(Duration::from_secs(7));
    let start = Instant::now();
    let opened = Connection::open_over(options.credentials(planned), script).await;
    assert_eq!(start.elapsed().as_secs(), 7);
    let Err(ConnectError::Connection {
        cause: ConnectionError::NoCredentials(why),
        ..
    }) = opened
    else {
        panic!("{opened:?}");
    };
    assert!(why.contains("time limit"), "{why}");
    assert_eq!(in_time(given_up.recv()).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_slow_leaves_the_transport_the_rest_of_the_time() {
    let (_attempts, script) = Attempts::new();
    let options = options()
        .connect_timeout(Duration::from_secs(7))
        .credentials(async |_: ConnectAttempt| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok(Credentials::new())
        });
    let start = Instant::now();
    let error = Connection::open_over(options, script).await.unwrap_err();
    assert_eq!(start.elapsed().as_secs(), 7);
    assert!(
        matches!(error, ConnectError::TimedOut { opened: false, .. }),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn disconnecting_drops_what_the_provider_is_about_to_do() {
    let (_attempts, script) = Attempts::new();
    let (planned, mut given_up) = Planned::new([]);
    let options = options().credentials(planned.clone());
    let connection = Connection::start_over(&options, script).unwrap();
    while planned.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    drop((planned, options)); // what is left is the one that was asked
    let start = Instant::now();
    assert_eq!(in_time(connection.disconnect()).await, Ok(()));
    assert_eq!(in_time(given_up.recv()).await, None);
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_token_that_has_expired_is_followed_by_a_connection_with_a_fresh_one() {
    for reason in [ReasonCode::BadUserNameOrPassword, ReasonCode::NotAuthorized] {
        let (attempts, script) = Attempts::new();
        let tokens = ["good", "expired", "fresh"];
        let (planned, _) = Planned::new(tokens.map(|token| Ok(password(token))));
        let options = options().credentials(planned);
        let connection = Connection::start_over(&options, script).unwrap();
        let client = connection.client();
        let (server, _) = Server::accept(attempts.succeeds(4096), false).await;
        in_time(client.connected()).await.unwrap();
        let mut events = client.events();
        let connected = in_time(events.next()).await;
        assert!(matches!(connected, Some(ConnectionEvent::Connected { .. })));
        drop(server);
        let lost = ConnectionError::Transport(TransportError::EndOfStream);
        assert_eq!(end_of_attempt(&mut events).await, (lost, true));
        let waiting = client.publish("t", "kept").qos(QoS::AtLeastOnce);
        let receipt = waiting.enqueue().await.unwrap();
        let connect = refuse(attempts.succeeds(4096), reason).await;
        assert_eq!(connect.password, Some(Bytes::from("expired")));
        let (cause, again) = end_of_attempt(&mut events).await;
        assert!(
            matches!(&cause, ConnectionError::Refused { reason: reported, .. } if *reported == reason),
            "{cause:?}"
        );
        assert!(again);
        let (mut server, connect) = Server::accept(attempts.succeeds(4096), true).await;
        assert_eq!(connect.password, Some(Bytes::from("fresh")));
        let publish = server.publish().await;
        assert_eq!(publish.payload, "kept");
        server.puback(publish.packet_id, ReasonCode::Success).await;
        in_time(receipt).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_cannot_be_sent_are_an_error_of_the_provider() {
    for (wrong, part) in [
        (Credentials::new().user_name("a\0"), "User Name"),
        (password("").user_name("x".repeat(65_536)), "65535"),
        (Credentials::new().password(vec![0; 65_536]), "65536 bytes"),
        #[cfg(feature = "websocket")]
        (
            Credentials::new().websocket_header("Authorization", "geheim\r\nX: y"),
            "Authorization",
        ),
    ] {
        let (attempts, script) = Attempts::new();
        let (planned, _) = Planned::new([Ok(wrong)]);
        let opened = Connection::open_over(options().credentials(planned), script).await;
        let Err(ConnectError::Connection {
            cause: ConnectionError::NoCredentials(why),
            ..
        }) = opened
        else {
            panic!("{opened:?}");
        };
        assert!(why.contains(part) && !why.contains("geheim"), "{why}");
        in_time(attempts.0.closed()).await; // and nothing was opened
    }
}

#[test]
fn debug_hides_all_credentials() {
    let credentials = Credentials::new().user_name("geheim").password("geheim");
    #[cfg(feature = "websocket")]
    let credentials = credentials.websocket_header("Authorization", "geheim");
    assert!(!format!("{credentials:?}").contains("geheim"));
}
