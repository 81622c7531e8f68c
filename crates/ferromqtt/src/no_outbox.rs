//! In place of `outbox.rs` without the feature `outbox`: there is none.

pub(crate) use std::convert::Infallible as OpenedOutbox;
pub(crate) use std::convert::Infallible as RunningOutbox;
use std::convert::Infallible as StartedOutbox;
use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto as proto;
use ferromqtt_proto::Session;

use crate::shared::Shared;
use crate::state::TaskEngine;
use crate::{ConnectError, Options};

#[expect(clippy::unused_async, reason = "with the feature it waits for a disk")]
pub(crate) async fn open_outbox(_: &Options) -> Result<Option<OpenedOutbox>, ConnectError> {
    Ok(None)
}

pub(crate) fn take_up(
    options: &Options,
    outbox: Option<OpenedOutbox>,
) -> Result<(proto::Options, Session, Option<OpenedOutbox>), ConnectError> {
    Ok((options.to_core()?, Session::default(), outbox))
}

pub(crate) const fn attach_outbox(started: StartedOutbox, _: &Arc<Shared>) {
    match started {}
}

#[expect(clippy::unnecessary_wraps, reason = "with the feature it may fail")]
pub(crate) const fn start_outbox(
    _: &mut TaskEngine,
    _: Option<OpenedOutbox>,
) -> Result<Option<StartedOutbox>, ConnectError> {
    Ok(None)
}

pub(crate) const fn settle_outbox(
    _: &mut Option<RunningOutbox>,
    _: &mut TaskEngine,
    _: Instant,
) -> bool {
    false
}

impl Shared {
    #[expect(clippy::unused_async, reason = "with the feature it waits for a disk")]
    pub(crate) async fn close_outbox(&self) {}
}
