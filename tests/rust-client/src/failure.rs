//! Errors as JSON.

use std::error::Error as StdError;

use ferromqtt::{
    ConnectError, ConnectionError, Delivery, Error, PublishError, ReasonCode, SubscribeError,
    TransportError,
};
use serde_json::{Value, json};

/// What kind it is, the server's Reason Code if there is one, and the text. Of a publish, whether it may have arrived.
pub(crate) fn describe(error: &(dyn StdError + 'static)) -> Value {
    let (kind, reason) = classify(error);
    let delivery = delivery(error).map(|delivery| match delivery {
        Delivery::NotSent => "not_sent",
        Delivery::Unknown => "unknown",
    });
    json!({
        "kind": kind,
        "reason": reason.map(ReasonCode::value),
        "delivery": delivery,
        "text": error.to_string(),
    })
}

fn classify(error: &(dyn StdError + 'static)) -> (&'static str, Option<ReasonCode>) {
    if let Some(error) = error.downcast_ref::<Error>() {
        return match error {
            Error::Connect(ConnectError::Connection { cause, .. }) | Error::Connection(cause) => {
                connection(cause)
            }
            Error::Connect(ConnectError::TimedOut { .. }) => ("ConnectTimeout", None),
            Error::Publish(error) => publish(error),
            Error::Subscribe(error) => subscribe(error),
            _ => ("Other", None),
        };
    }
    match error.downcast_ref::<ConnectionError>() {
        Some(error) => connection(error),
        None => ("Other", None),
    }
}

fn connection(error: &ConnectionError) -> (&'static str, Option<ReasonCode>) {
    match error {
        ConnectionError::Refused { reason, .. } => ("Refused", Some(*reason)),
        ConnectionError::Disconnected { reason, .. } => ("Disconnected", Some(*reason)),
        ConnectionError::ProtocolViolation(_) => ("ProtocolViolation", None),
        ConnectionError::Unanswered => ("Unanswered", None),
        ConnectionError::KeepAliveTimeout => ("KeepAliveTimeout", None),
        ConnectionError::ConnectTimeout => ("ConnectTimeout", None),
        ConnectionError::Transport(TransportError::Certificate(_)) => ("Certificate", None),
        ConnectionError::Transport(_) => ("Transport", None),
        ConnectionError::Closed => ("Closed", None),
        _ => ("Other", None),
    }
}

fn publish(error: &PublishError) -> (&'static str, Option<ReasonCode>) {
    match error {
        PublishError::Rejected { reason, .. } => ("Rejected", Some(*reason)),
        PublishError::Disconnected { cause, .. } => connection(cause),
        PublishError::SessionLost => ("SessionLost", None),
        _ => ("Other", None),
    }
}

fn subscribe(error: &SubscribeError) -> (&'static str, Option<ReasonCode>) {
    match error {
        SubscribeError::Rejected { reason, .. } => ("Rejected", Some(*reason)),
        SubscribeError::Disconnected { cause, .. } => connection(cause),
        SubscribeError::Invalid(_) | SubscribeError::InvalidUnsubscribe(_) => ("Invalid", None),
        _ => ("Other", None),
    }
}

fn delivery(error: &(dyn StdError + 'static)) -> Option<Delivery> {
    match error.downcast_ref::<Error>()? {
        Error::Publish(error) => Some(error.delivery()),
        _ => None,
    }
}
