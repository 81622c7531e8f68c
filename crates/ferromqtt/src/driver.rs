//! The one task behind a connection: it opens transports when the engine asks, moves bytes, and sleeps until the
//! engine's deadline. It knows nothing of MQTT.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferromqtt_engine::{LinkId, LinkRequest};
use ferromqtt_proto::{ServerChoice, TransportError};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use crate::credentials::Credentials;
use crate::link::{ByteLink, LinkEvent, LinkOutput};
use crate::shared::{Agenda, Burst, Shared, now};
use crate::state::TaskEngine;
use crate::transport::{ByteStream, Connector, Stream};

/// How the last transport ended: an error when bytes that were to be written were not.
pub(crate) type Flushed = Result<(), TransportError>;

/// Runs until the core wants no connection any more.
pub(crate) fn drive(
    shared: Arc<Shared>,
    connector: Connector,
) -> impl Future<Output = Flushed> + Send {
    let gone = Gone(shared); // made here: the task may be dropped before it has begun
    async move {
        let flushed = drive_to_end(&gone.0, &connector).await;
        gone.0.close_outbox().await;
        flushed
    }
}

async fn drive_to_end(shared: &Shared, connector: &Connector) -> Flushed {
    let mut alarm = Alarm::default();
    let mut flushed = Ok(());
    let mut agenda = no_transport(shared, |_, _| {});
    while let Some(request) = next_request(shared, agenda, &mut alarm).await {
        let (link, cause) = match request {
            LinkRequest::Open {
                link,
                server,
                attempt,
            } => match open(shared, connector, &server, attempt, &mut alarm).await {
                Ok(stream) => {
                    let stream = ByteLink::carrying(link, stream);
                    let end = carry(shared, connector, link, stream, &mut alarm).await;
                    flushed = end.flushed;
                    (link, end.cause)
                }
                Err(cause) => (link, cause),
            },
            // To be closed before it was opened.
            LinkRequest::HalfClose(link) | LinkRequest::Close(link) | LinkRequest::Abort(link) => {
                (link, TransportError::EndOfStream)
            }
        };
        agenda = no_transport(shared, |engine, now| engine.closed(now, link, cause));
    }
    flushed
}

/// Waits, without a transport, for what the engine wants next. `None`: nothing any more.
async fn next_request(
    shared: &Shared,
    mut agenda: Agenda,
    alarm: &mut Alarm,
) -> Option<LinkRequest> {
    loop {
        if agenda.request.is_some() || agenda.idle {
            return agenda.request;
        }
        alarm.set(agenda.deadline);
        tokio::select! {
            biased; // no random number: the same program takes the same course
            () = alarm.wait() => {}
            () = shared.driver.notified() => {}
        }
        agenda = no_transport(shared, |_, _| {});
    }
}

/// Opens a transport, unless the core gives it up before.
async fn open(
    shared: &Shared,
    connector: &Connector,
    server: &ServerChoice,
    attempt: u32,
    alarm: &mut Alarm,
) -> Result<Stream, TransportError> {
    let mut connecting = std::pin::pin!(connect(shared, connector, server, attempt));
    loop {
        let agenda = no_transport(shared, |_, _| {});
        if agenda.request.is_some() {
            return Err(TransportError::EndOfStream); // asked to close: the core knows why
        }
        alarm.set(agenda.deadline);
        tokio::select! {
            biased;
            connected = &mut connecting => return connected,
            () = alarm.wait() => {}
            () = shared.driver.notified() => {}
        }
    }
}

/// One attempt. Credentials come first: the request for a WebSocket may hold them.
async fn connect(
    shared: &Shared,
    connector: &Connector,
    server: &ServerChoice,
    attempt: u32,
) -> Result<Stream, TransportError> {
    let failed = |error| connector.cause(&error);
    let server = connector.find(server).map_err(failed)?;
    let context = shared.begin_attempt(&server);
    let credentials = match &connector.credentials {
        None => Ok(Credentials::new()),
        Some(source) => source.renew(shared, server.clone(), attempt).await,
    };
    match credentials {
        Ok(credentials) => {
            let connecting = connector.connect(&server, &credentials);
            context.enter_while(connecting).await.map_err(failed)
        }
        Err(why) => {
            no_transport(shared, |engine, now| engine.fail_credentials(now, why));
            Err(TransportError::EndOfStream) // the core knows why
        }
    }
}

fn no_transport(shared: &Shared, call: impl FnOnce(&mut TaskEngine, Instant)) -> Agenda {
    shared.turn(&mut LinkOutput::default(), |engine, now| {
        call(engine, now);
        engine.on_time(now);
    })
}

/// How a transport ended.
struct LinkEnd {
    cause: TransportError,
    flushed: Flushed,
}

/// How long the peer has to say why, when writing has failed.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl LinkEnd {
    /// All that there was to write is written. The core knows why it ended.
    const fn closed() -> Self {
        Self {
            cause: TransportError::EndOfStream,
            flushed: Ok(()),
        }
    }

    fn unwritten(cause: TransportError) -> Self {
        Self {
            flushed: Err(cause.clone()),
            cause,
        }
    }
}

/// Moves bytes over a transport until it ends, or the core ends it.
async fn carry<S: ByteStream>(
    shared: &Shared,
    connector: &Connector,
    name: LinkId,
    mut link: ByteLink<S>,
    alarm: &mut Alarm,
) -> LinkEnd {
    let before = shared.connections();
    let mut give_up_at = None;
    let mut missing = 1;
    let mut burst = Burst::default();
    let mut agenda = shared.transport_opened(&mut link.output, name);
    loop {
        match agenda.request {
            Some(LinkRequest::HalfClose(_)) => link.finish(),
            Some(_) if link.has_finished() => return LinkEnd::closed(),
            Some(LinkRequest::Abort(_)) => {
                return LinkEnd::unwritten(
                    connector.lost(&link.overdue(), shared.connections() > before),
                );
            }
            // The server has ended the connection: there is nothing to write.
            Some(LinkRequest::Close(_) | LinkRequest::Open { .. }) => return LinkEnd::closed(),
            None => {}
        }
        if link.write_failed() {
            let at = give_up_at.get_or_insert_with(|| now() + LAST_WORDS);
            if *at <= now() {
                return LinkEnd::unwritten(
                    connector.lost(&link.overdue(), shared.connections() > before),
                );
            }
        }
        alarm.set([agenda.deadline, give_up_at].into_iter().flatten().min());
        let step = tokio::select! {
            biased; // what can be written is, even if its time is over now
            step = link.step(missing, agenda.reading) => step,
            () = alarm.wait() => Ok(LinkEvent::Written),
            () = shared.driver.notified() => {
                agenda = shared.turn(&mut link.output, |engine, now| {
                    // When the connection ends, what is left is written before the time is looked at.
                    if engine.is_connected() {
                        engine.on_time(now);
                    }
                });
                continue;
            }
        };
        agenda = match step {
            Ok(LinkEvent::Read(bytes)) => {
                let mut messages = 0;
                let next = {
                    let (input, output, progress) = link.parts();
                    shared.turn(output, |engine, now| {
                        let intake = engine.receive(now, name, input);
                        (missing, messages) = (intake.missing, intake.messages);
                        progress.report(engine, name, now);
                        engine.on_time(now);
                    })
                };
                burst.add(messages, bytes);
                for _ in 0..burst.take_turns() {
                    yield_now().await; // readers keep up, and what they read is still in the processor's cache
                }
                next
            }
            Ok(LinkEvent::Written) => {
                let (_, output, progress) = link.parts();
                shared.turn(output, |engine, now| {
                    progress.report(engine, name, now);
                    engine.on_time(now);
                })
            }
            Ok(LinkEvent::Finished) => shared.turn(&mut link.output, |engine, now| {
                engine.finished(now, name);
                engine.on_time(now);
            }),
            Err(_) if link.has_finished() => return LinkEnd::closed(),
            Err(error) => {
                return LinkEnd::unwritten(connector.lost(&error, shared.connections() > before));
            }
        };
    }
}

/// Reports to everyone who waits that the driver has gone, also when its runtime drops it.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.driver_gone();
    }
}

/// A timer that is reset only for an earlier deadline. One that moves away costs nothing until the old one has passed.
#[derive(Debug, Default)]
struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: bool,
}

impl Alarm {
    fn set(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline.map(tokio::time::Instant::from_std) else {
            self.armed = false;
            return;
        };
        match &mut self.sleep {
            Some(sleep) if self.armed && sleep.deadline() <= deadline => {}
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
        self.armed = true;
    }

    /// Waits for the deadline; forever when there is none.
    async fn wait(&mut self) {
        match &mut self.sleep {
            Some(sleep) if self.armed => sleep.await,
            _ => pending().await,
        }
        self.armed = false;
    }
}
