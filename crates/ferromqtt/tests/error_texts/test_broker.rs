use ferromqtt::ReasonCode;
use ferromqtt_testing::{
    Authentication, BrokerOptions, BrokerOptionsError, Listen, TestAuthority, TestBroker,
};

use crate::page::{Provoked, compare};

fn refused<T>(result: Result<T, BrokerOptionsError>) -> Provoked {
    let error = result.map(|_| ()).unwrap_err();
    (error.to_string(), "BrokerOptionsError")
}

/// An attempt to connect to a broker that was dropped.
async fn stopped() -> Provoked {
    let open = TestBroker::new().transport();
    let error = open("test-broker").await.unwrap_err();
    (error.to_string(), "BrokerStopped")
}

fn without_certificate() -> Provoked {
    let error = TestAuthority::new().unwrap().issue("b\u{fc}cher");
    (error.unwrap_err().to_string(), "CertificateError")
}

async fn layered() -> Provoked {
    let broker = TestBroker::new();
    let refused = broker.listen(Listen::unix("/a").with_tls());
    (refused.await.unwrap_err().to_string(), "io::Error")
}

#[tokio::test]
async fn every_text_of_the_test_broker_is_provoked_and_reads_as_the_page_says() {
    let mut options = BrokerOptions::default();
    let provoked = vec![
        refused(options.deny_connect("*", ReasonCode::Success)),
        refused(Authentication::new("a\0", [("first?", "FIRST?")])),
        refused(Authentication::new("LOUD", [(vec![0; 65_536], vec![0])])),
        without_certificate(),
        layered().await,
        stopped().await,
    ];
    compare("Rust: test broker", provoked);
}
