//! Enhanced authentication (section 4.12) against the built-in broker.

use bytes::Bytes;
use ferromqtt::{
    Authenticator, AuthenticatorError, ConnectError, Connection, ConnectionError, Options, QoS,
    ReAuthenticateError, ReasonCode,
};
use ferromqtt_testing::{Authentication, BrokerOptions, TestBroker};

use crate::{in_time, options};

fn asking_broker() -> TestBroker {
    let steps = [("first?", "FIRST?"), ("second?", "SECOND?")];
    let mut broker = BrokerOptions::default();
    broker.authentication = Some(Authentication::new("LOUD", steps).unwrap());
    TestBroker::with_options(broker)
}

/// Says what it is asked in capitals, as often as it has breath.
struct Loud {
    breath: usize,
}

impl Authenticator for Loud {
    fn begin(&mut self) -> Result<Option<Bytes>, AuthenticatorError> {
        Ok(None)
    }

    fn answer(&mut self, challenge: Option<Bytes>) -> Result<Option<Bytes>, AuthenticatorError> {
        self.breath = self.breath.checked_sub(1).ok_or("out of breath")?;
        Ok(challenge.map(|challenge| challenge.to_ascii_uppercase().into()))
    }
}

fn loud(broker: &TestBroker, method: &str, breath: usize) -> Options {
    options(broker).authenticator(method, move || Loud { breath })
}

#[tokio::test(start_paused = true)]
async fn a_client_authenticates_and_does_so_anew() {
    in_time(async {
        let broker = asking_broker();
        let connection = Connection::open(loud(&broker, "LOUD", 2)).await.unwrap();
        let client = connection.client();
        client.publish("t", "").qos(QoS::AtLeastOnce).await.unwrap();
        client.re_authenticate().await.unwrap();
        client.publish("t", "").qos(QoS::AtLeastOnce).await.unwrap();
        assert_eq!(client.stats().connections, 1);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_cannot_answer_and_who_has_another_method_does_not_get_in() {
    in_time(async {
        let broker = asking_broker();
        let error = Connection::open(loud(&broker, "LOUD", 1))
            .await
            .unwrap_err();
        let cause = ConnectionError::AuthenticationFailed("out of breath".into());
        assert!(
            matches!(&error, ConnectError::Connection { cause: why, .. } if *why == cause),
            "{error:?}"
        );
        let error = Connection::open(loud(&broker, "QUIET", 2))
            .await
            .unwrap_err();
        let ConnectError::Connection {
            cause: ConnectionError::Refused { reason, .. },
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(reason, ReasonCode::BadAuthenticationMethod);
        let connection = Connection::open(loud(&broker, "LOUD", 2)).await.unwrap();
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_asks_nothing_of_it_does_not_know_the_method() {
    in_time(async {
        let broker = TestBroker::new();
        let connection = crate::connect(&broker).await;
        let error = connection.client().re_authenticate().await.unwrap_err();
        assert_eq!(error, ReAuthenticateError::NoAuthenticator);
        connection.disconnect().await.unwrap();
        broker.stop().await;
    })
    .await;
}
