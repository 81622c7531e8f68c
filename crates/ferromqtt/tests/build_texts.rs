//! What a build says that lacks a feature, as docs/errors.md has it. It is played without `websocket` and `idna`.
#![cfg(not(any(feature = "websocket", feature = "idna")))]

#[path = "error_texts/page.rs"]
mod page;

use ferromqtt::{Connection, Options};

#[tokio::test]
async fn every_text_of_a_build_without_a_feature_is_provoked_and_reads_as_the_page_says() {
    let mut provoked = Vec::new();
    for options in [
        Options::from_url("ws://127.0.0.1:1").unwrap(),
        Options::new("b\u{fc}cher.example", 1883),
    ] {
        let error = Connection::open(options).await.unwrap_err();
        provoked.push((error.to_string(), "ConnectError::Options"));
    }
    page::compare("Rust: builds without a feature", provoked);
}
