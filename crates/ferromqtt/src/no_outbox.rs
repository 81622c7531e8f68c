//! In place of `outbox.rs` without the feature `outbox`: there is none.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use ferromqtt_proto as proto;
use ferromqtt_proto::Session;

use crate::shared::Shared;
use crate::state::TaskEngine;
use crate::{ConnectError, Options};

pub(crate) type OpenedOutbox = Infallible;
pub(crate) type RunningOutbox = Infallible;

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

pub(crate) struct StartedOutbox(Infallible);

impl StartedOutbox {
    pub(crate) const fn attach(self, _: &Arc<Shared>) {
        match self.0 {}
    }
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
