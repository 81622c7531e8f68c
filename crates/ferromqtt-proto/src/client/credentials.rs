//! Credentials that are not the same for each attempt to connect: a driver that gets new ones sets them before it opens
//! the transport ([`Options::fresh_credentials`](crate::Options::fresh_credentials)).

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::closing::Ending;
use super::{Client, ClientPhase};
use crate::error::{ConnectionError, InvalidOptions};
use crate::text::Utf8String;

impl Client {
    /// User Name and Password of the next CONNECT, and of those after it, in place of those of the options.
    ///
    /// # Errors
    /// As [`Options::check`](crate::Options::check): a password of more than 65,535 bytes, and, before 5.0, one without a
    /// user name. Those that were set before stay then: an attempt that is to have none but these
    /// [is given up](Client::fail_credentials).
    pub fn set_credentials(
        &mut self,
        user_name: Option<Utf8String>,
        password: Option<Bytes>,
    ) -> Result<(), InvalidOptions> {
        self.options
            .check_credentials(user_name.as_ref(), password.as_ref())?;
        self.options.user_name = user_name;
        self.options.password = password;
        if let ClientPhase::Opening {
            awaits_credentials, ..
        } = &mut self.phase
        {
            *awaits_credentials = false;
        }
        Ok(())
    }

    /// There are no credentials for the attempt whose transport was asked for: it ends as
    /// [`ConnectionError::NoCredentials`], and counts as one that the network has failed. `why` should hold no secret.
    ///
    /// Does nothing at any other time.
    pub fn fail_credentials(&mut self, now: Instant, why: Arc<str>) {
        if matches!(self.phase, ClientPhase::Opening { .. }) {
            self.end_connection(now, ConnectionError::NoCredentials(why), Ending::Abort);
        }
    }
}
