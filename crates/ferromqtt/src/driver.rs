//! The one task behind a connection: it opens transports when the core asks, moves bytes, and sleeps until the core's
//! deadline. It knows nothing of MQTT.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ferromqtt_proto::{ServerChoice, TransportError, TransportRequest};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep_until};

use crate::credentials::Credentials;
use crate::link::{Link, Output, Step};
use crate::shared::{Burst, Shared, Turn, now};
use crate::transport::{ByteStream, Connector, Stream};

/// How the last transport ended: an error when bytes that were to be written were not.
pub(crate) type Flushed = Result<(), TransportError>;

/// Runs until the core wants no connection any more.
pub(crate) fn drive(
    shared: Arc<Shared>,
    connector: Connector,
) -> impl Future<Output = Flushed> + Send {
    let gone = Gone(shared); // made here: the task may be dropped before it has begun
    async move { drive_to_end(&gone.0, &connector).await }
}

async fn drive_to_end(shared: &Shared, connector: &Connector) -> Flushed {
    let mut alarm = Alarm::default();
    let mut flushed = Ok(());
    let mut turn = no_transport(shared, |_, _| {});
    while let Some(request) = next_request(shared, turn, &mut alarm).await {
        let cause = match request {
            TransportRequest::Open { server, attempt } => {
                match open(shared, connector, &server, attempt, &mut alarm).await {
                    Ok(stream) => {
                        let end = carry(shared, connector, stream, &mut alarm).await;
                        flushed = end.flushed;
                        end.cause
                    }
                    Err(cause) => cause,
                }
            }
            _ => TransportError::EndOfStream, // to be closed before it was opened
        };
        turn = no_transport(shared, |core, now| core.transport_closed(now, cause));
    }
    flushed
}

/// Waits, without a transport, for what the core wants next. `None`: nothing any more.
async fn next_request(
    shared: &Shared,
    mut turn: Turn,
    alarm: &mut Alarm,
) -> Option<TransportRequest> {
    loop {
        if turn.request.is_some() || turn.idle {
            return turn.request;
        }
        alarm.set(turn.deadline);
        tokio::select! {
            () = alarm.wait() => {}
            () = shared.driver.notified() => {}
        }
        turn = no_transport(shared, |_, _| {});
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
        let turn = no_transport(shared, |_, _| {});
        if turn.request.is_some() {
            return Err(TransportError::EndOfStream); // told to close: the core knows why
        }
        alarm.set(turn.deadline);
        tokio::select! {
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
            no_transport(shared, |core, now| core.fail_credentials(now, why));
            Err(TransportError::EndOfStream) // the core knows why
        }
    }
}

fn no_transport(shared: &Shared, call: impl FnOnce(&mut ferromqtt_proto::Client, Instant)) -> Turn {
    shared.turn(&mut Output::default(), |core, now| {
        call(core, now);
        core.handle_timeout(now);
    })
}

/// How a transport ended.
struct End {
    cause: TransportError,
    flushed: Flushed,
}

/// How long the peer has to say why, when writing has failed.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl End {
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
    stream: S,
    alarm: &mut Alarm,
) -> End {
    let before = shared.connections();
    let mut link = Link::new(stream);
    let mut give_up_at = None;
    let mut missing = 1;
    let mut burst = Burst::default();
    let mut turn = shared.transport_opened(&mut link.output);
    loop {
        match turn.request {
            Some(TransportRequest::Finish) => link.finish(),
            Some(_) if link.has_finished() => return End::closed(),
            Some(TransportRequest::Abort) => {
                return End::unwritten(
                    connector.lost(&link.overdue(), shared.connections() > before),
                );
            }
            Some(_) => return End::closed(), // the server has ended the connection: there is nothing to write
            None => {}
        }
        if link.write_failed() {
            let at = give_up_at.get_or_insert_with(|| now() + LAST_WORDS);
            if *at <= now() {
                return End::unwritten(
                    connector.lost(&link.overdue(), shared.connections() > before),
                );
            }
        }
        alarm.set([turn.deadline, give_up_at].into_iter().flatten().min());
        let step = tokio::select! {
            biased; // what can be written is, even if its time is over now
            step = link.step(missing, turn.reading) => step,
            () = alarm.wait() => Ok(Step::Written),
            () = shared.driver.notified() => {
                turn = shared.turn(&mut link.output, |core, now| {
                    // When the connection ends, what is left is written before the time is looked at.
                    if core.is_connected() {
                        core.handle_timeout(now);
                    }
                });
                continue;
            }
        };
        turn = match step {
            Ok(Step::Read(bytes)) => {
                let turn = {
                    let (input, output, progress) = link.parts();
                    shared.turn(output, |core, now| {
                        core.handle_input(now, input);
                        missing = core.input_hint(input);
                        progress.report(core, now);
                        core.handle_timeout(now);
                    })
                };
                burst.add(turn.received, bytes);
                for _ in 0..burst.take_turns() {
                    yield_now().await; // readers keep up, and what they read is still in the processor's cache
                }
                turn
            }
            Ok(Step::Written) => {
                let (_, output, progress) = link.parts();
                shared.turn(output, |core, now| {
                    progress.report(core, now);
                    core.handle_timeout(now);
                })
            }
            Ok(Step::Finished) => shared.turn(&mut link.output, |core, now| {
                core.transport_finished(now);
                core.handle_timeout(now);
            }),
            Err(_) if link.has_finished() => return End::closed(),
            Err(error) => {
                return End::unwritten(connector.lost(&error, shared.connections() > before));
            }
        };
    }
}

/// Tells everyone who waits that the driver has gone, also when its runtime drops it.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.driver_gone();
    }
}

/// A timer that is set anew only for an earlier deadline: one that moves away costs nothing until the old one is over.
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

    /// Waits for the deadline; for ever when there is none.
    async fn wait(&mut self) {
        match &mut self.sleep {
            Some(sleep) if self.armed => sleep.await,
            _ => pending().await,
        }
        self.armed = false;
    }
}
