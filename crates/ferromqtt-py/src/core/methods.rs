//! What Python calls on a [`Core`]: PyO3 takes one block of methods for a class. Each is a call of the module that does it.

use std::collections::HashMap;

use ferromqtt_engine::CallId;
use ferromqtt_proto::QueueId;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::{Core, lifecycle};
use crate::access::Access;
use crate::acknowledge;
use crate::authenticate;
use crate::connack;
use crate::event_reader::EventReader;
use crate::events;
use crate::gate;
use crate::hand_over;
use crate::identifiers;
use crate::message::Message;
use crate::messages_iterator::MessagesIterator;
use crate::operations;
use crate::outbox::{self, OutboxFolder};
use crate::readers;
use crate::receipts;
use crate::recording::Recorder;
use crate::requests;
use crate::wire::WritingEnd;

#[pymethods]
impl Core {
    #[new]
    fn new(seed: u64) -> PyResult<Self> {
        Self::unconfigured(seed)
    }

    // The connection, for `ferromqtt._driver`.

    /// Sets the core's options, before the first connection. Messages and iterators stay.
    #[pyo3(signature = (outbox = None, **options))]
    fn configure(
        slf: &Bound<'_, Self>,
        outbox: Option<&OutboxFolder>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::configure(slf, options, outbox)
    }

    // The outbox, for `ferromqtt._outbox`.

    /// Takes up an outbox again that this client was left with. Returns whether nobody has changed it since.
    fn take_up_outbox(slf: &Bound<'_, Self>, folder: &OutboxFolder) -> bool {
        outbox::take_up_again(slf, folder)
    }

    /// What the loop is to watch for the outbox.
    fn outbox_descriptor(slf: &Bound<'_, Self>) -> Option<i32> {
        outbox::descriptor(slf)
    }

    /// That is readable.
    fn outbox_woken(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        outbox::woken(slf)
    }

    /// Whether the store is about to wake the loop.
    fn outbox_is_writing(slf: &Bound<'_, Self>) -> bool {
        outbox::is_writing(slf)
    }

    /// Closes the outbox. Returns whether that is done.
    fn close_outbox(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let _inside = gate::enter_on(slf)?;
        let closed = outbox::close(slf)?;
        events::hand_out(slf)?;
        Ok(closed)
    }

    /// Nobody waits any more until the outbox is closed.
    fn give_up_outbox(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        outbox::give_up(slf)?;
        events::hand_out(slf)
    }

    /// Forgets the outbox, in a forked child. Returns the descriptor to close.
    fn forget_outbox(slf: &Bound<'_, Self>) -> Option<i32> {
        outbox::forget(slf)
    }

    /// What the outbox holds.
    fn outbox_stats<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        outbox::stats(slf)
    }

    /// A future that is done when the message with this key is on record.
    fn await_stored<'py>(slf: &Bound<'py, Self>, key: u64) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        outbox::await_stored(slf, key)
    }

    /// Records each transport that is opened from now on.
    fn record(slf: &Bound<'_, Self>, recorder: &Recorder) {
        slf.lock().engine.record(recorder.shared());
    }

    /// The bounds of the outgoing queue, before the first connection: messages, bytes, and the policy.
    fn set_outgoing_queue(
        slf: &Bound<'_, Self>,
        maxsize: Option<usize>,
        maxbytes: Option<usize>,
        policy: &str,
    ) -> PyResult<()> {
        let options = receipts::queue_options(maxsize, maxbytes, policy)?;
        slf.lock().queue_options = Some(options);
        Ok(())
    }

    #[getter]
    fn message_sink(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        slf.read().sink(slf.py()).map(Bound::unbind)
    }

    #[setter]
    fn set_message_sink(slf: &Bound<'_, Self>, sink: Option<Py<PyAny>>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        let previous = std::mem::replace(&mut slf.lock().message_sink, sink);
        drop(previous);
        Ok(())
    }

    #[setter]
    fn set_parker(slf: &Bound<'_, Self>, parker: Option<Py<PyAny>>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        let previous = std::mem::replace(&mut slf.lock().parker, parker);
        drop(previous);
        Ok(())
    }

    /// Where the connection leads to, for errors.
    #[getter]
    fn get_address(slf: &Bound<'_, Self>) -> String {
        slf.read().engine.address().to_owned()
    }

    #[setter]
    fn set_address(slf: &Bound<'_, Self>, address: String) {
        slf.lock().engine.begin_attempt(address);
    }

    /// Whether the server at this address has accepted a connection since the client was entered.
    fn has_accepted(slf: &Bound<'_, Self>, address: &str) -> bool {
        slf.read().engine.has_accepted(address)
    }

    /// A connection to `address` is about to be opened on `event_loop`; the caller opens it.
    fn begin(slf: &Bound<'_, Self>, event_loop: Bound<'_, PyAny>, address: String) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::begin(slf, event_loop, address)
    }

    /// User Name and Password for the attempt whose transport was asked for, and for those after it.
    fn set_credentials(
        slf: &Bound<'_, Self>,
        user_name: Option<&Bound<'_, PyAny>>,
        password: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::set_credentials(slf, user_name, password)
    }

    /// There are no credentials for the attempt whose transport was asked for. The caller then [gives up](crate::link::Link)
    /// its link.
    fn fail_credentials(slf: &Bound<'_, Self>, why: &str) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::fail_credentials(slf, why)
    }

    /// Where the connection stands: the value of a `ClientState`.
    #[getter]
    fn state(slf: &Bound<'_, Self>) -> &'static str {
        slf.read().state_name()
    }

    /// Whether a connection that is lost is made again.
    #[getter]
    fn reconnects(slf: &Bound<'_, Self>) -> bool {
        slf.read().engine.core().options().reconnect.is_some()
    }

    /// A new reader of the events of the connection.
    fn read_events<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, EventReader>> {
        let _inside = gate::enter_on(slf)?;
        let reader = EventReader::new(slf);
        Bound::new(slf.py(), reader)
    }

    /// Sends DISCONNECT behind all that is encoded, and closes the transport. `with_will`: the server is to publish the will,
    /// for which there is no DISCONNECT before 5.0.
    #[pyo3(signature = (with_will = false))]
    fn disconnect(slf: &Bound<'_, Self>, with_will: bool) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::disconnect(slf, with_will)
    }

    /// Leaves: with `wait`, when every call that was accepted, and that somebody waits for, has its outcome; then sends
    /// DISCONNECT behind all that is encoded, and closes the transport. `limit` is in seconds; None is no limit. Called again
    /// without `wait`, it waits no longer.
    #[pyo3(signature = (with_will, wait, limit))]
    fn leave(
        slf: &Bound<'_, Self>,
        with_will: bool,
        wait: bool,
        limit: Option<f64>,
    ) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::leave(slf, with_will, wait, limit)
    }

    /// Drains: accepts no more messages, and disconnects when all that was accepted has its outcome, or after `limit` seconds;
    /// None is no limit.
    #[pyo3(signature = (limit))]
    fn drain(slf: &Bound<'_, Self>, limit: Option<f64>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        lifecycle::drain(slf, limit)
    }

    /// Whether the client is being drained, or was, and has not connected again since.
    #[getter]
    fn is_draining(slf: &Bound<'_, Self>) -> bool {
        slf.read().engine.is_draining()
    }

    /// What draining has left: messages that were never sent, those whose outcome is unknown, and QoS 0 messages that were not
    /// written.
    #[getter]
    fn undone(slf: &Bound<'_, Self>) -> (usize, usize, u64) {
        let undone = slf.read().engine.undone();
        (undone.not_sent, undone.unknown, undone.unflushed)
    }

    /// From how many messages, and bytes, in the queue on a warning is logged: each once for a connection.
    #[getter]
    fn backlog_thresholds(slf: &Bound<'_, Self>) -> (usize, usize) {
        let backlog = slf.read().backlog;
        (backlog.messages, backlog.bytes)
    }

    #[setter]
    fn set_backlog_thresholds(slf: &Bound<'_, Self>, thresholds: (usize, usize)) {
        let backlog = &mut slf.lock().backlog;
        (backlog.messages, backlog.bytes) = thresholds;
    }

    #[setter]
    fn set_is_cut(slf: &Bound<'_, Self>, is_cut: bool) {
        slf.lock().is_cut = is_cut;
    }

    #[getter]
    fn pending_calls_threshold(slf: &Bound<'_, Self>) -> usize {
        slf.read().pending_calls_threshold
    }

    #[setter]
    fn set_pending_calls_threshold(slf: &Bound<'_, Self>, threshold: usize) {
        slf.lock().pending_calls_threshold = threshold;
    }

    #[getter]
    fn max_calls(slf: &Bound<'_, Self>) -> usize {
        slf.read().max_calls
    }

    #[setter]
    fn set_max_calls(slf: &Bound<'_, Self>, calls: usize) {
        slf.lock().max_calls = calls;
    }

    /// The number of the call that was accepted last, for `abandon`.
    #[getter]
    fn last_op(slf: &Bound<'_, Self>) -> u64 {
        slf.read().last_op
    }

    /// Whether all that the last connection had to write was written before its transport ended.
    #[getter]
    fn all_written(slf: &Bound<'_, Self>) -> bool {
        slf.read().writing_end == WritingEnd::Reached
    }

    /// Whether the last connection's transport was given up before all was written.
    #[getter]
    fn was_aborted(slf: &Bound<'_, Self>) -> bool {
        slf.read().writing_end == WritingEnd::Aborted
    }

    /// Answers the Authentication Data that `_on_auth` was called with. None ends the connection, and so do data that cannot
    /// be sent: why is returned.
    fn answer_auth(slf: &Bound<'_, Self>, data: Option<&[u8]>) -> PyResult<Option<String>> {
        let _inside = gate::enter_on(slf)?;
        events::answer(slf, data)
    }

    /// Counts a log line of Python's. Returns how often it has been, if it is to be written.
    fn count_line(slf: &Bound<'_, Self>, line: &str, times: u64) -> PyResult<Option<u64>> {
        let _inside = gate::enter_on(slf)?;
        let now = Self::now(slf)?;
        Ok(slf.lock().lines.count(now, line, times))
    }

    /// No message will come any more: iterators raise once the queue is empty.
    fn end_messages(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        slf.lock().engine.end_queues();
        events::hand_out(slf)
    }

    /// Whether `_on_packets` gets a line for each packet, and for each connection that is made or ends.
    #[getter]
    fn get_traces_packets(slf: &Bound<'_, Self>) -> bool {
        slf.read().engine.core().packet_trace()
    }

    #[setter]
    fn set_traces_packets(slf: &Bound<'_, Self>, on: bool) {
        slf.lock().engine.set_packet_trace(on);
    }

    /// The Client Identifier in use: the one given, or the one that the server has assigned.
    #[getter]
    fn client_identifier(slf: &Bound<'_, Self>) -> String {
        let core = slf.read();
        core.engine.core().client_identifier().as_str().to_owned()
    }

    /// What the latest CONNACK has settled: the fields of a `ConnectResult`. None before the first one.
    #[getter]
    fn connack<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let _inside = gate::enter_on(slf)?;
        connack::fields(slf)
    }

    /// The version of MQTT in use: 3, 4 or 5.
    #[getter]
    fn protocol(slf: &Bound<'_, Self>) -> u8 {
        slf.read().engine.core().options().protocol.level()
    }

    /// The client's counters, by their names.
    fn stats(slf: &Bound<'_, Self>) -> HashMap<&'static str, u64> {
        slf.read().engine.stats().fields().collect()
    }

    /// Whether the server has accepted the connection and it has not ended.
    #[getter]
    fn connected(slf: &Bound<'_, Self>) -> bool {
        slf.read().engine.core().is_connected()
    }

    /// Whether there is no connection, and none is being made.
    #[getter]
    fn idle(slf: &Bound<'_, Self>) -> bool {
        slf.read().engine.core().is_idle()
    }

    /// Whether a transport is attached that has not reported its end.
    #[getter]
    fn attached(slf: &Bound<'_, Self>) -> bool {
        slf.read().transport.is_some()
    }

    /// The transport, while there is one.
    #[getter]
    fn transport(slf: &Bound<'_, Self>) -> Option<Py<PyAny>> {
        let core = slf.read();
        (core.transport.as_ref()).map(|transport| transport.clone_ref(slf.py()))
    }

    /// Goes on reading, after a turn of the loop, unless a queue has no capacity meanwhile.
    fn resume_reading(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        Self::go_on_reading(slf)
    }

    /// A transport to the server at this place of the list is to be opened. `ferromqtt._driver.Protocol` does so; a core alone
    /// opens none.
    const fn _on_open(_slf: &Bound<'_, Self>, _place: usize, _number: u32) {}

    /// The transport that is being opened is wanted no more. Replaced by the subclass.
    const fn _on_unwanted(_slf: &Bound<'_, Self>) {}

    // Calls

    /// Publishes. Returns None when the message is on its way, or something to await: a future, or one turn of the loop.
    #[pyo3(signature = (topic, payload, qos, retain, properties, timeout))]
    fn publish<'py>(
        slf: &Bound<'py, Self>,
        topic: &Bound<'py, PyAny>,
        payload: &Bound<'py, PyAny>,
        qos: &Bound<'py, PyAny>,
        retain: &Bound<'py, PyAny>,
        properties: Option<&Bound<'py, PyDict>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let _inside = gate::enter_on(slf)?;
        operations::publish(slf, topic, payload, qos, retain, properties, timeout)
    }

    /// Has the outgoing queue accept a message. `timeout` is for the wait until there is capacity; without one there is no wait.
    #[pyo3(signature = (message, timeout, expires_in, keep_latest))]
    fn enqueue<'py>(
        slf: &Bound<'py, Self>,
        message: receipts::Given<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
        expires_in: Option<f64>,
        keep_latest: bool,
    ) -> PyResult<receipts::Enqueued<'py>> {
        let _inside = gate::enter_on(slf)?;
        receipts::enqueue(slf, message, timeout, expires_in, keep_latest)
    }

    /// Nobody waits any more for the outcome of the message with this key.
    fn release_receipt(slf: &Bound<'_, Self>, key: u64) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        receipts::release(slf, key);
        Ok(())
    }

    /// Publishes messages in their order. Returns for each a future, an exception, or None for one that is on its way, and the
    /// numbers of the calls.
    fn publish_many<'py>(
        slf: &Bound<'py, Self>,
        messages: Vec<receipts::Given<'py>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyList>, Vec<u64>)> {
        let _inside = gate::enter_on(slf)?;
        receipts::publish_many(slf, messages, timeout)
    }

    /// Subscribes to (filter, qos, no local, retain as published, retain handling) tuples. Returns a future of the list of
    /// Reason Codes.
    #[pyo3(signature = (filters, properties, timeout))]
    fn subscribe<'py>(
        slf: &Bound<'py, Self>,
        filters: Vec<(String, u8, bool, bool, u8)>,
        properties: Option<&Bound<'py, PyDict>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        operations::subscribe(slf, filters, properties, timeout)
    }

    /// Unsubscribes from filters. Returns a future of the list of Reason Codes, which is empty before 5.0.
    #[pyo3(signature = (filters, properties, timeout))]
    fn unsubscribe<'py>(
        slf: &Bound<'py, Self>,
        filters: Vec<String>,
        properties: Option<&Bound<'py, PyDict>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        operations::unsubscribe(slf, filters, properties, timeout)
    }

    /// Publishes a request. Returns a future of the message that answers it.
    fn request<'py>(
        slf: &Bound<'py, Self>,
        message: receipts::Given<'py>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        requests::request(slf, message, timeout)
    }

    /// Publishes the response to a request that had these properties and this QoS. Returns a future of None.
    #[pyo3(signature = (asked, payload, qos, retain, properties, timeout))]
    fn respond<'py>(
        slf: &Bound<'py, Self>,
        asked: Option<&Bound<'py, PyDict>>,
        payload: &Bound<'py, PyAny>,
        qos: &Bound<'py, PyAny>,
        retain: bool,
        properties: Option<&Bound<'py, PyDict>>,
        timeout: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        requests::respond(slf, asked, (payload, qos, retain), properties, timeout)
    }

    /// The Authentication Data that the next CONNECT has; or why there is none, which ends the attempt.
    fn begin_authentication(
        slf: &Bound<'_, Self>,
        data: Option<&[u8]>,
        why: Option<String>,
    ) -> PyResult<bool> {
        let _inside = gate::enter_on(slf)?;
        authenticate::begin(slf, data, why)
    }

    /// The number of the connection that may authenticate again now. Raises when none may.
    fn check_re_authenticate(slf: &Bound<'_, Self>) -> PyResult<u64> {
        let _inside = gate::enter_on(slf)?;
        authenticate::check_again(slf)
    }

    /// Authenticates again on this connection, beginning with this data. Returns a future of None.
    fn re_authenticate<'py>(
        slf: &Bound<'py, Self>,
        connection: u64,
        data: Option<&[u8]>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = gate::enter_on(slf)?;
        authenticate::again(slf, connection, data)
    }

    /// The caller of the call with this number does not wait for it any more.
    fn abandon(slf: &Bound<'_, Self>, op: u64) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        operations::abandon(slf, CallId::from_number(op));
        Ok(())
    }

    // Messages

    /// Takes out the futures of iterators that wait on another loop than the one that was begun on, and gives back the
    /// messages that are reserved for iterators there.
    fn take_foreign_waiters<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let _inside = gate::enter_on(slf)?;
        readers::take_foreign_waiters(slf)
    }

    /// A new iterator over the messages.
    fn messages<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, MessagesIterator>> {
        let _inside = gate::enter_on(slf)?;
        Bound::new(
            slf.py(),
            MessagesIterator::new(slf.clone().unbind(), QueueId::DEFAULT, None),
        )
    }

    /// Takes the next message of those that are reserved for no iterator, without waiting.
    fn take_message<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, Message>>> {
        let _inside = gate::enter_on(slf)?;
        hand_over::pop(slf, QueueId::DEFAULT, None)
    }

    #[getter]
    fn manual_ack(slf: &Bound<'_, Self>) -> bool {
        slf.read().manual_ack
    }

    #[setter]
    fn set_manual_ack(slf: &Bound<'_, Self>, manual: bool) {
        acknowledge::set_manual(&mut slf.lock(), manual);
    }

    /// Whether exactly-once handlers keep the identifiers of QoS 2 messages, from the next connection on: `_on_identifier` is called
    /// with what becomes of them.
    #[setter]
    fn set_keeps_identifiers(slf: &Bound<'_, Self>, keeps: bool) {
        slf.lock().keeps_identifiers = keeps;
    }

    /// All changes of identifiers up to this one are on record.
    fn identifiers_written(slf: &Bound<'_, Self>, sequence: u64) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        identifiers::written(slf, sequence)
    }

    /// A queue of the user's own class has not taken this message: nobody will see it.
    fn discard(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        acknowledge::discard(slf, message)
    }

    /// Acknowledges the message with this Packet Identifier and QoS that was handed over on this connection. Returns whether
    /// there is one.
    fn acknowledge(slf: &Bound<'_, Self>, mid: i64, qos: i64) -> PyResult<bool> {
        let _inside = gate::enter_on(slf)?;
        acknowledge::acknowledge(slf, mid, qos)
    }

    /// What the program has taken and not acknowledged: how many messages, since how many seconds, and how many wait behind.
    fn unacknowledged(slf: &Bound<'_, Self>) -> PyResult<(usize, Option<f64>, usize)> {
        let _inside = gate::enter_on(slf)?;
        acknowledge::unacknowledged(slf)
    }

    // Callbacks on the loop

    /// Writes all that can be written.
    #[pyo3(name = "flush")]
    fn flush_called(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        Self::flush(slf)
    }

    /// The loop's timer has fired.
    fn timer_fired(slf: &Bound<'_, Self>) -> PyResult<()> {
        let _inside = gate::enter_on(slf)?;
        Self::fire_timer(slf)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.visit_held(&visit)
    }

    /// What is taken out is dropped once the core is released, since that may run Python code that uses the core.
    fn __clear__(slf: &Bound<'_, Self>) {
        let held = slf.try_borrow_mut().map(|mut core| core.take_held());
        gate::release(held);
    }
}
