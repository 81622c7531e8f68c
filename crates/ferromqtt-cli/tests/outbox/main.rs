//! Runs the real `ferromqtt outbox`, on stores that `ferromqtt-store` has made.

mod changes;
mod error_texts;
mod export_import;
mod folder;
mod help;
mod looking;
mod many;
#[cfg(target_os = "linux")] // the page's section is read there alone
#[path = "../../../ferromqtt/tests/error_texts/page.rs"]
mod page;
mod sending;
