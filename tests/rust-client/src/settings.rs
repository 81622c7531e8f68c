//! What a scenario is told: where the server is, how to reach it, and which names to use.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};

use ferromqtt::{CleanStart, Options, ProtocolVersion, Proxy, QoS, TlsOptions};
use serde_json::Value;

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

pub(crate) struct Settings(Value);

impl Settings {
    pub(crate) fn read(text: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(text)?))
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn needed(&self, name: &str) -> Result<&str> {
        self.given(name)
            .ok_or_else(|| format!("the setting {name} is missing").into())
    }

    pub(crate) fn topic(&self) -> Result<&str> {
        self.needed("topic")
    }

    /// The filter to subscribe to: the topic, unless another one is given.
    pub(crate) fn filter(&self) -> Result<&str> {
        self.given("filter").map_or_else(|| self.topic(), Ok)
    }

    /// How many messages.
    pub(crate) fn count(&self) -> Result<usize> {
        let count = self.0.get("count").and_then(Value::as_u64);
        Ok(count.ok_or("the setting count is missing")?.try_into()?)
    }

    /// How many messages may be unacknowledged.
    pub(crate) fn in_flight(&self) -> Result<u16> {
        let messages = self.0.get("in_flight").and_then(Value::as_u64);
        Ok(u16::try_from(
            messages.ok_or("the setting in_flight is missing")?,
        )?)
    }

    pub(crate) fn qos(&self) -> Result<QoS> {
        match self.0.get("qos").and_then(Value::as_u64) {
            Some(0) => Ok(QoS::AtMostOnce),
            Some(1) => Ok(QoS::AtLeastOnce),
            Some(2) => Ok(QoS::ExactlyOnce),
            _ => Err("the setting qos is missing, or none of 0, 1, 2".into()),
        }
    }

    /// A client of the server.
    pub(crate) fn options(&self) -> Result<Options> {
        self.at(self.needed("url")?)
    }

    /// A client that goes another way, where one is given: through a cutting proxy.
    pub(crate) fn detour(&self) -> Result<Options> {
        self.at(self.needed("detour")?)
    }

    fn at(&self, url: &str) -> Result<Options> {
        let version = match self.needed("version")? {
            "V31" => ProtocolVersion::V31,
            "V311" => ProtocolVersion::V311,
            "V5" => ProtocolVersion::V5,
            other => return Err(format!("there is no version {other}").into()),
        };
        // Strict: what a server slips in is to be seen.
        let mut options = Options::from_url(url)?.protocol(version).strict(true);
        if version == ProtocolVersion::V31 {
            options = options.client_identifier(self.new_identifier()?); // no server chooses one
        }
        if let Some(name) = self.given("username") {
            options = options.user_name(name);
        }
        if let Some(password) = self.given("password") {
            options = options.password(password.to_owned());
        }
        if let Some(file) = self.given("ca_file") {
            let mut tls = TlsOptions::new().ca_file(file);
            if let Some(chain) = self.given("client_certificate") {
                tls = tls.client_certificate_files(chain, self.needed("client_key")?);
            }
            options = options.tls(tls);
        }
        if let Some(proxy) = self.given("proxy") {
            options = options.proxy(Proxy::from_url(proxy)?);
        }
        Ok(options)
    }

    /// One of 23 characters at most, as 3.1 says, for each client of this program.
    fn new_identifier(&self) -> Result<String> {
        static CLIENTS: AtomicUsize = AtomicUsize::new(0);
        let unique = self.identifier()?.rsplit('-').next().unwrap_or_default();
        let number = CLIENTS.fetch_add(1, Ordering::Relaxed);
        Ok(format!("{unique}-{number}"))
    }

    pub(crate) fn identifier(&self) -> Result<&str> {
        self.needed("identifier")
    }

    /// Makes the session outlive the connection.
    pub(crate) fn lasting(&self, options: Options) -> Result<Options> {
        let options = options.client_identifier(self.identifier()?);
        Ok(options.clean_start(CleanStart::Never))
    }
}
