//! TCP, to the first of a host's addresses that answers.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};

use ferromqtt_transport::{AttemptPhase, Hint, Host, Next, Race};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::during;

/// Of how many addresses an error says what became of them. A name may have hundreds.
const MOST_SHOWN: usize = 5;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tcp {
    /// Where connections come from.
    pub(crate) bind: Option<IpAddr>,
}

impl Tcp {
    pub(crate) async fn connect(self, host: &Host, port: u16) -> io::Result<TcpStream> {
        let mut addresses = resolve(host, port).await?;
        if let Some(bind) = self.bind {
            addresses.retain(|address| address.is_ipv4() == bind.is_ipv4());
            if addresses.is_empty() {
                let problem = format!(
                    "the host has no address of the kind of {bind}, which Options::bind_address names"
                );
                let error = io::Error::new(io::ErrorKind::AddrNotAvailable, problem);
                return Err(during(AttemptPhase::Tcp, None, &error));
            }
        }
        let stream = first_to_answer(&addresses, move |address| self.open(address))
            .await
            .map_err(|error| during(AttemptPhase::Tcp, self.hint(error.kind()), &error))?;
        stream.set_nodelay(true)?; // an acknowledgement must not wait for more bytes to come
        Ok(stream)
    }

    /// What to do when the last address failed like this.
    const fn hint(self, kind: io::ErrorKind) -> Option<Hint> {
        match kind {
            io::ErrorKind::ConnectionRefused => Some(Hint::NobodyListens),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                Some(Hint::NoRoute)
            }
            io::ErrorKind::AddrNotAvailable if self.bind.is_some() => Some(Hint::LocalAddress {
                option: "Options::bind_address",
            }),
            _ => None,
        }
    }

    async fn open(self, address: SocketAddr) -> io::Result<TcpStream> {
        let Some(bind) = self.bind else {
            return TcpStream::connect(address).await;
        };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind((bind, 0).into())?;
        socket.connect(address).await
    }
}

/// The host's addresses, as the system prefers them.
pub(super) async fn resolve(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    let unresolved = |error| during(AttemptPhase::Resolve, Hint::UnknownName, &error);
    let found = lookup_host((host.resolver_name(), port)).await;
    let addresses: Vec<_> = found.map_err(unresolved)?.collect();
    match addresses.is_empty() {
        true => Err(unresolved(io::Error::new(
            io::ErrorKind::NotFound,
            "the host has no address",
        ))),
        false => Ok(addresses),
    }
}

/// Tries addresses side by side, as [`Race`] says. The other attempts are given up with the set that they are in.
///
/// # Errors
/// What became of each address.
async fn first_to_answer<S, C>(
    addresses: &[SocketAddr],
    open: impl Fn(SocketAddr) -> C,
) -> io::Result<S>
where
    S: Send + 'static,
    C: Future<Output = io::Result<S>> + Send + 'static,
{
    let start = Instant::now();
    let mut race = Race::new(addresses);
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    loop {
        let until = match race.poll(start.elapsed()) {
            Next::Start(place) => {
                let opening = open(addresses[place]);
                attempts.spawn(async move { (place, opening.await) });
                continue;
            }
            Next::WaitUntil(time) => Some(start + time),
            Next::Wait => None,
            Next::Failed => return Err(all_failed(addresses, failures)),
        };
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = sleep_until(until.unwrap_or(start)), if until.is_some() => continue,
        };
        match ended {
            Some(Ok((_, Ok(stream)))) => return Ok(stream),
            Some(Ok((place, Err(error)))) => {
                race.failed(place, start.elapsed());
                failures.push((place, error));
            }
            // The runtime is shutting down.
            Some(Err(_)) | None => return Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

fn all_failed(addresses: &[SocketAddr], failures: Vec<(usize, io::Error)>) -> io::Error {
    let kind = (failures.last()).map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let mut shown: Vec<_> = (failures.iter().take(MOST_SHOWN))
        .map(|(place, error)| format!("{}: {error}", addresses[*place]))
        .collect();
    let more = failures.len().saturating_sub(MOST_SHOWN);
    if more > 0 {
        shown.push(format!("and {more} more addresses"));
    }
    io::Error::new(kind, shown.join("; "))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    fn addresses() -> [SocketAddr; 3] {
        ["[::1]:1", "[::2]:2", "127.0.0.1:3"].map(|text| text.parse().unwrap())
    }

    async fn after(milliseconds: u64, result: io::Result<u16>) -> io::Result<u16> {
        sleep(Duration::from_millis(milliseconds)).await;
        result
    }

    fn refused() -> io::Result<u16> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_costs_a_quarter_of_a_second() {
        let start = Instant::now();
        let addresses = addresses();
        let winner = first_to_answer(&addresses, |address| async move {
            match address.port() {
                3 => after(10, Ok(3)).await,
                _ => pending().await,
            }
        });
        assert_eq!(winner.await.unwrap(), 3);
        assert_eq!(start.elapsed().as_millis(), 260);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_refuses_costs_nothing() {
        let start = Instant::now();
        let addresses = addresses();
        let winner = first_to_answer(&addresses, |address| async move {
            match address.port() {
                2 => after(10, Ok(2)).await,
                _ => refused(),
            }
        });
        assert_eq!(winner.await.unwrap(), 2);
        assert_eq!(start.elapsed().as_millis(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slow_first_address_wins_if_the_others_are_slower() {
        let addresses = addresses();
        let winner = first_to_answer(&addresses, |address| async move {
            match address.port() {
                1 => after(300, Ok(1)).await,
                port => after(1_000, Ok(port)).await,
            }
        });
        assert_eq!(winner.await.unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_each_is_named() {
        let addresses = addresses();
        let failed = first_to_answer(&addresses, |_| after(1, refused()));
        let error = failed.await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        for address in addresses {
            assert!(error.to_string().contains(&address.to_string()), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_many_fail_the_first_few_are_named() {
        let addresses: Vec<_> = (1..=300)
            .map(|port| ([127, 0, 0, 1], port).into())
            .collect();
        let failed = first_to_answer(&addresses, |_| after(1, refused()));
        let text = failed.await.unwrap_err().to_string();
        assert!(text.ends_with("; and 295 more addresses"), "{text}");
        assert_eq!(text.matches("127.0.0.1:").count(), 5, "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_given_up_with_the_race() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let sender = std::sync::Mutex::new(Some(sender));
        let addresses = addresses();
        let race = first_to_answer(&addresses, |_| {
            let held = sender.lock().unwrap().take();
            async move {
                let _held = held;
                pending::<io::Result<u16>>().await
            }
        });
        let late = tokio::time::timeout(Duration::from_secs(5), race).await;
        assert!(late.is_err());
        let gone = tokio::time::timeout(Duration::from_secs(5), receiver).await;
        assert!(gone.unwrap().is_err(), "the attempt is dropped");
    }
}
