//! Options for tests: the test broker, and a seed.

use std::sync::Arc;

use ferromqtt_testing::TestBroker;

use super::Options;
use crate::shared::Shared;

impl Options {
    /// The test broker, over connections in memory: no port and no network, and time that a test can pause. The server of
    /// errors and logs is `test-broker`.
    ///
    /// All other options apply, [`reconnect`](Self::reconnect) and [`servers`](Self::servers) among them, whose attempts all
    /// lead to this broker. What shapes a connection over a network is refused when connecting, as
    /// [`OptionsError::InMemory`](crate::OptionsError::InMemory): TLS, proxy, WebSocket headers and bind address. To test options that have those, keep them,
    /// and replace the connection: `options.transport(broker.transport())`.
    ///
    /// `TestBroker::idle` waits for what these clients have to send.
    ///
    /// Once the broker is stopped or dropped, attempts to connect fail as
    /// [`TransportError::Failed`](crate::TransportError::Failed).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use ferromqtt::testing::TestBroker;
    /// use ferromqtt::{Client, Error, Options};
    ///
    /// /// The program to be tested: publishes a reading every minute.
    /// async fn report(client: Client, readings: [&'static str; 3]) -> Result<(), Error> {
    ///     for reading in readings {
    ///         client.publish("site/7/level", reading).await?;
    ///         tokio::time::sleep(Duration::from_secs(60)).await;
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # /*
    /// #[tokio::test(start_paused = true)]
    /// # */
    /// async fn reports_every_minute() -> Result<(), Error> {
    ///     let broker = TestBroker::new();
    ///     ferromqtt::scope(Options::test(&broker), async |watcher| {
    ///         let mut levels = watcher.subscribe("site/+/level").await?;
    ///         ferromqtt::scope(Options::test(&broker), async |client| {
    ///             report(client, ["28.4", "28.5", "28.9"]).await
    ///         })
    ///         .await?;
    ///         for expected in ["28.4", "28.5", "28.9"] {
    ///             let message = levels.next().await.expect("a reading");
    ///             assert_eq!(message.text()?, expected);
    ///         }
    ///         Ok(())
    ///     })
    ///     .await
    /// }
    /// # let mut builder = tokio::runtime::Builder::new_current_thread();
    /// # builder.enable_time().start_paused(true).build().unwrap().block_on(reports_every_minute()).unwrap();
    /// ```
    #[must_use]
    pub fn test(broker: &TestBroker) -> Self {
        let mut options = Self::new("test-broker", 1883).transport(broker.transport());
        options.transport.in_memory = true;
        options.transport.watch = Some(broker.client_watch());
        options
    }

    /// Draws what the client draws at random from this seed: the jitter of pauses between attempts, and the identifiers of
    /// subscriptions and requests. For tests that take the same course each time, such as those of
    /// [`testing::seeds`](ferromqtt_testing::seeds). Default: a seed of its own for every connection.
    ///
    /// Never in a program at work: whoever knows the seed can guess the correlation data of requests.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Tells the test broker, if it is one, what the client of `shared` has to send.
    pub(crate) fn watch(&self, shared: &Arc<Shared>) {
        let Some(watch) = &self.transport.watch else {
            return;
        };
        let shared = Arc::downgrade(shared);
        watch.watch(move || {
            let shared = shared.upgrade()?;
            let engine = &shared.lock().engine;
            (!engine.has_ended()).then(|| engine.stats().outgoing)
        });
    }
}
