use ferromqtt::ReasonCode;
use ferromqtt_testing::{Authentication, BrokerOptions, BrokerOptionsError};

use crate::page::{Provoked, compare};

fn refused<T>(result: Result<T, BrokerOptionsError>) -> Provoked {
    let error = result.map(|_| ()).unwrap_err();
    (error.to_string(), "BrokerOptionsError")
}

#[test]
fn every_text_of_the_test_broker_is_provoked_and_reads_as_the_page_says() {
    let mut options = BrokerOptions::default();
    let provoked = vec![
        refused(options.deny_connect("*", ReasonCode::Success)),
        refused(Authentication::new("a\0", [("first?", "FIRST?")])),
        refused(Authentication::new("LOUD", [(vec![0; 65_536], vec![0])])),
    ];
    compare("Rust: test broker", provoked);
}
