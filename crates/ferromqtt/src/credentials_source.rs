//! How credentials are asked for, before the transport of an attempt is opened.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use ferromqtt_proto::Utf8String;

use crate::shared::Shared;
use crate::{ConnectAttempt, Credentials, CredentialsError, CredentialsProvider, Server};

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send + 'a>>;

/// A [`CredentialsProvider`] of whatever type.
pub(crate) trait AnyProvider: Send + Sync {
    fn ask(&self, attempt: ConnectAttempt) -> Asking<'_>;
}

impl<P: CredentialsProvider> AnyProvider for P {
    fn ask(&self, attempt: ConnectAttempt) -> Asking<'_> {
        Box::pin(self.credentials(attempt))
    }
}

/// Who is asked for credentials, and what stands for those that are not given.
pub(crate) struct CredentialsSource {
    pub(crate) provider: Arc<dyn AnyProvider>,
    pub(crate) user_name: Option<Utf8String>,
    pub(crate) password: Option<Bytes>,
}

impl CredentialsSource {
    /// Asks for the credentials of one attempt, and gives User Name and Password to the core. The rest is returned, for who
    /// opens the transport.
    pub(crate) async fn renew(
        &self,
        shared: &Shared,
        server: Server,
        number: u32,
    ) -> Result<Credentials, Arc<str>> {
        let attempt = ConnectAttempt {
            server,
            number,
            last_end: shared.lock().engine.last_end().cloned(),
        };
        let asking = self.provider.ask(attempt);
        let credentials = asking.await.map_err(|error| text(&*error))?;
        #[cfg(feature = "websocket")]
        credentials
            .websocket_headers
            .check(credentials.websocket_path.as_deref().unwrap_or("/"))
            .map_err(|error| text(&error))?;
        let user_name = match &credentials.user_name {
            Some(name) => Some(Utf8String::try_from(name.as_str()).map_err(|error| {
                let why = format!("the User Name: {error}");
                Arc::from(why)
            })?),
            None => self.user_name.clone(),
        };
        let password = credentials
            .password
            .clone()
            .or_else(|| self.password.clone());
        let mut state = shared.lock();
        (state.engine.set_credentials(user_name, password)).map_err(|error| text(&error))?;
        drop(state);
        Ok(credentials)
    }
}

fn text(error: &dyn StdError) -> Arc<str> {
    error.to_string().into()
}
