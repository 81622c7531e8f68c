//! One run of a router: a task for each handler, and for each message of one that handles several at once.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;

use ferromqtt_engine::{Standing, check_responder};
use ferromqtt_proto::TopicTemplates;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::{ErrorHandler, Handler, Route, RoutedMessage, RouterError};
use crate::{
    Client, ConnectionError, FilterRefusal, InvalidSubscribe, Message, Messages, SubscribeError,
    log,
};

/// A handler at work.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) names: String,
    pub(super) concurrency: usize,
    pub(super) handler: Handler,
    pub(super) on_error: Option<ErrorHandler>,
}

/// Subscribes, and runs until the subscriptions end, or `stop` completes.
pub(super) async fn run<S: Future>(
    client: Client,
    handlers: Vec<(Route, Running)>,
    stop: S,
) -> Result<(), RouterError> {
    let mut stop = pin!(stop);
    let subscribed = tokio::select! {
        biased; // no random number: the same program takes the same course
        subscribed = subscribe_all(&client, handlers) => subscribed?,
        _ = &mut stop => return Ok(()),
    };
    attend(client, subscribed, stop).await
}

/// Calls the handlers until the subscriptions end, or `stop` completes. The tasks are gone when this is.
pub(super) async fn attend<S: Future>(
    client: Client,
    subscribed: Vec<(Running, Messages)>,
    stop: S,
) -> Result<(), RouterError> {
    let mut stop = pin!(stop);
    let (stopper, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for (running, messages) in subscribed {
        let running = Arc::new(running);
        workers.spawn(work(running, messages, stopped.clone()));
    }
    let mut stops = false;
    loop {
        let ended = tokio::select! {
            biased;
            ended = workers.join_next() => ended,
            _ = &mut stop, if !stops => {
                stops = true;
                let _ = stopper.send(true); // fails when all have ended
                continue;
            }
        };
        match ended {
            None => break,
            Some(ended) => returned(ended).unwrap_or(Ok(()))?,
        }
    }
    match client.shared.lock().engine.standing() {
        Standing::Ended(ConnectionError::Closed | ConnectionError::Dropped) => Ok(()),
        Standing::Ended(cause) if !stops => Err(cause.clone().into()),
        _ => Ok(()),
    }
}

/// Subscribes for all handlers at once.
pub(super) async fn subscribe_all(
    client: &Client,
    handlers: Vec<(Route, Running)>,
) -> Result<Vec<(Running, Messages)>, SubscribeError> {
    if handlers.is_empty() {
        return Err(InvalidSubscribe::NoFilter.into());
    }
    if handlers.iter().any(|(route, _)| route.responds) {
        check_responder(client.protocol())?;
    }
    let mut subscribing: JoinSet<Result<_, SubscribeError>> = JoinSet::new();
    for (route, running) in handlers {
        let subscribe = route.subscribe(client.clone());
        subscribing.spawn(async move { Ok((running, subscribe.await?)) });
    }
    let mut subscribed = Vec::new();
    while let Some(ended) = subscribing.join_next().await {
        if let Some(ended) = returned(ended) {
            subscribed.push(ended?);
        }
    }
    Ok(subscribed)
}

/// What a task has returned; `None` if the runtime has cancelled it, which is being shut down. Panics if it has.
fn returned<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(returned) => Some(returned),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Calls a handler with each message of its subscription.
async fn work(
    running: Arc<Running>,
    mut messages: Messages,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), RouterError> {
    let mut tasks = JoinSet::new();
    let mut ends = false;
    loop {
        while tasks.len() >= running.concurrency {
            let _ = tasks.join_next().await.map(returned);
        }
        let message = tokio::select! {
            biased;
            _ = stopped.wait_for(|stops| *stops) => break,
            Some(ended) = tasks.join_next() => {
                returned(ended);
                continue;
            }
            message = messages.next() => message,
        };
        match message {
            Some(message) if running.concurrency == 1 => {
                let templates = Arc::clone(&messages.templates);
                handle(&running, templates, message).await;
            }
            Some(message) => {
                let templates = Arc::clone(&messages.templates);
                let running = Arc::clone(&running);
                tasks.spawn(async move { handle(&running, templates, message).await });
            }
            // A queue that has overflown goes on behind the gap.
            None if messages.take_lost() > 0 => {}
            None => {
                ends = true;
                break;
            }
        }
    }
    while let Some(ended) = tasks.join_next().await {
        returned(ended);
    }
    match messages.not_subscribed().into_iter().next() {
        Some((filter, refusal)) if ends => Err(match refusal {
            FilterRefusal::NotAsked(error) => SubscribeError::Invalid(error),
            refusal => SubscribeError::Rejected {
                filter,
                reason: refusal.reason(),
                properties: None,
            },
        }
        .into()),
        _ => Ok(()),
    }
}

async fn handle(running: &Running, templates: Arc<TopicTemplates>, message: Message) {
    let routed = RoutedMessage::new(message.clone(), templates);
    match (running.handler)(&running.client, routed).await {
        Ok(()) => {
            if let Some(delivery) = message.delivery {
                running.client.acknowledge(delivery);
            }
        }
        Err(error) => match &running.on_error {
            Some(on_error) => on_error(error, message).await,
            None => log::handler_failed(&running.names, &message.topic, &error),
        },
    }
}
