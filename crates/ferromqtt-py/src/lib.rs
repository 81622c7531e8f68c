//! The native module of the Python package `ferromqtt`: the sans-IO core as an asyncio protocol, its messages, its test
//! broker, and what lies below MQTT. Nothing here knows MQTT; nothing here opens a socket.

mod access;
mod acknowledge;
mod allocator;
mod authenticate;
mod backlog;
mod batches;
mod broker;
mod buffer;
mod call_future;
mod call_result;
mod clock;
mod connack;
mod convert;
mod core;
mod drain;
mod event_reader;
mod events;
mod failure;
mod gate;
mod hand_over;
mod home;
mod hooks;
mod interpreter;
mod lines;
mod link;
mod message;
mod message_properties;
mod messages_iterator;
mod next_message;
mod next_message_type;
mod operations;
mod pending;
mod progress;
mod properties;
mod readers;
mod receipts;
mod requests;
mod rules;
mod subscription;
mod timer;
mod tokens;
mod topic_template;
mod transport;
mod turn;
mod websocket;
mod wire;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    interpreter::check(module.py())?;
    allocator::set_up();
    clock::set_up(module.py())?;
    call_future::set_up(module.py())?;
    gate::set_up(module)?;
    home::set_up(module)?;
    module.add_class::<broker::Broker>()?;
    module.add_class::<core::Core>()?;
    module.add_class::<event_reader::EventReader>()?;
    module.add_class::<link::Link>()?;
    module.add_class::<failure::End>()?;
    module.add_class::<failure::EndKind>()?;
    module.add_class::<failure::Hint>()?;
    module.add_class::<failure::Phase>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<messages_iterator::MessagesIterator>()?;
    module.add_class::<batches::Batches>()?;
    module.add_class::<subscription::SubscriptionQueue>()?;
    module.add_class::<topic_template::TopicTemplate>()?;
    module.add_class::<transport::Host>()?;
    module.add_class::<transport::ProxyHandshake>()?;
    module.add_class::<transport::Race>()?;
    module.add_class::<websocket::WebSocketTransport>()?;
    module.add_function(wrap_pyfunction!(allocator::purge_delay, module)?)?;
    module.add_function(wrap_pyfunction!(convert::payload_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(failure::authority, module)?)?;
    module.add_function(wrap_pyfunction!(failure::failure_text, module)?)?;
    module.add_function(wrap_pyfunction!(rules::check_filter, module)?)?;
    module.add_function(wrap_pyfunction!(rules::check_text, module)?)?;
    module.add_function(wrap_pyfunction!(rules::property_table, module)?)?;
    module.add_function(wrap_pyfunction!(rules::wildcard_matches, module)?)?;
    module.add_function(wrap_pyfunction!(transport::proxy_of_url, module)?)?;
    module.add_function(wrap_pyfunction!(transport::server_of_url, module)?)?;
    module.add_function(wrap_pyfunction!(websocket::websocket_headers, module)?)?;
    module.add("MAX_BYTES", rules::MAX_BYTES)?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    message::finish_type(module.py())?;
    message_properties::finish_type(module.py())?;
    next_message_type::finish_type(module.py());
    Ok(())
}
