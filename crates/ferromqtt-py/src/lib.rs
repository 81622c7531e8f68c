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
mod chaos;
mod clock;
mod connack;
mod convert;
mod core;
mod decoding;
mod event_reader;
mod events;
mod failure;
mod gate;
mod hand_over;
mod home;
mod hooks;
mod identifiers;
mod interpreter;
mod lines;
mod link;
mod message;
mod message_properties;
mod messages_iterator;
mod next_message;
mod next_message_type;
mod operations;
mod outbox;
mod pending;
mod profile;
mod progress;
mod properties;
mod readers;
mod receipts;
mod recording;
mod requests;
mod responding;
mod rules;
mod subscription;
mod timer;
mod tokens;
mod topic_template;
mod transport;
mod turn;
mod typed_message;
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
    module.add_class::<broker::TestAuthority>()?;
    module.add_class::<broker::WebSocketServer>()?;
    module.add_class::<chaos::ScriptShrinker>()?;
    module.add_class::<core::Core>()?;
    module.add_class::<decoding::Decoding>()?;
    module.add_class::<event_reader::EventReader>()?;
    module.add_class::<link::Link>()?;
    module.add_class::<failure::End>()?;
    module.add_class::<failure::EndKind>()?;
    module.add_class::<failure::Hint>()?;
    module.add_class::<failure::Phase>()?;
    module.add_class::<message::Message>()?;
    module.add_class::<messages_iterator::MessagesIterator>()?;
    module.add_class::<batches::Batches>()?;
    module.add_class::<outbox::OutboxFolder>()?;
    module.add_class::<recording::Recorder>()?;
    module.add_class::<subscription::SubscriptionQueue>()?;
    module.add_class::<topic_template::TopicTemplate>()?;
    module.add_class::<transport::Host>()?;
    module.add_class::<transport::ProxyHandshake>()?;
    module.add_class::<transport::Race>()?;
    module.add_class::<typed_message::TypedMessage>()?;
    module.add_class::<websocket::WebSocketTransport>()?;
    module.add_function(wrap_pyfunction!(
        acknowledge::acknowledge_committed,
        module
    )?)?;
    module.add_function(wrap_pyfunction!(acknowledge::hold_for_transaction, module)?)?;
    module.add_function(wrap_pyfunction!(allocator::purge_delay, module)?)?;
    module.add_function(wrap_pyfunction!(chaos::draw_faults, module)?)?;
    module.add_function(wrap_pyfunction!(chaos::play_faults, module)?)?;
    module.add_function(wrap_pyfunction!(chaos::python_code, module)?)?;
    module.add_function(wrap_pyfunction!(convert::payload_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(failure::authority, module)?)?;
    module.add_function(wrap_pyfunction!(failure::failure_text, module)?)?;
    module.add_function(wrap_pyfunction!(outbox::open_outbox, module)?)?;
    module.add_function(wrap_pyfunction!(profile::profile_table, module)?)?;
    module.add_function(wrap_pyfunction!(profile::settle_profile, module)?)?;
    module.add_function(wrap_pyfunction!(recording::recording_diff, module)?)?;
    module.add_function(wrap_pyfunction!(recording::recording_text, module)?)?;
    module.add_function(wrap_pyfunction!(responding::admit_request, module)?)?;
    module.add_function(wrap_pyfunction!(responding::check_responder, module)?)?;
    module.add_function(wrap_pyfunction!(responding::is_unacknowledged, module)?)?;
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
    typed_message::finish_type(module.py())?;
    next_message_type::finish_type(module.py());
    Ok(())
}
