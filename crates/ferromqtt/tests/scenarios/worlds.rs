//! Random worlds of requests, routers, templates, codecs and profiles, by seed: the connections of clients are cut, and each
//! request gets its own answer or a typed end.
//!
//! `FERROMQTT_FIRST_SEED=1000 FERROMQTT_SEEDS=5000 cargo test -p ferromqtt --test scenarios random_worlds` plays others.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferromqtt::{
    Bytes, CleanStart, Client, Connection, Decode, Delivery, HandlerError, Options, QoS, Reconnect,
    RequestError, RequestMessage, Route, Router, Server, ServerProfile, TopicTemplate,
    TypedMessage,
};
use ferromqtt_testing::TestBroker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, copy_bidirectional, duplex};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// One request: who asks, and the how many-th of its it is.
type Job = (String, u32);

/// Reads jobs, of which some are written so that it cannot.
#[derive(Clone, Copy)]
struct Jobs;

impl Decode<Job> for Jobs {
    type Error = HandlerError;

    fn decode(&self, payload: &Bytes) -> Result<Job, HandlerError> {
        let text = std::str::from_utf8(payload)?;
        let (by, number) = text.split_once(' ').ok_or("no job")?;
        Ok((by.to_owned(), number.parse()?))
    }
}

/// What [`Jobs`] cannot decode, of the same job.
fn bad(job: &Job) -> String {
    format!("bad {} {}", job.0, job.1)
}

fn good(job: &Job) -> String {
    format!("{} {}", job.0, job.1)
}

/// Draws what happens: the same each time for a seed.
#[derive(Clone)]
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn qos(&mut self) -> QoS {
        [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][self.below(3) as usize]
    }

    fn apart(&mut self) -> Self {
        Self(self.below(u64::MAX) | 1)
    }
}

/// What is known of a world, and what is wrong with it.
#[derive(Default)]
struct Ledger {
    problems: Vec<String>,
    handled: HashMap<Job, u32>,
    at_qos_2: HashSet<Job>,
    asked: u32,
    ended: u32,
    answered: u32,
    /// The faults are over.
    is_well: bool,
}

/// What leads to the broker, and what a second of a world takes there.
trait Ground: Clone + Send + Sync + 'static {
    const PACE: f64;

    fn open(
        &self,
    ) -> impl Future<Output = io::Result<impl AsyncRead + AsyncWrite + Unpin + Send>> + Send;
}

#[derive(Clone)]
struct Memory(Arc<TestBroker>);

impl Ground for Memory {
    const PACE: f64 = 1.0;

    async fn open(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send> {
        self.0.connect().map_err(io::Error::other)
    }
}

/// How programs answer: rightly, or wrongly in one way, to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Right,
    /// Each request gets the answer to another one.
    Swaps,
    /// Each is handled twice.
    Repeats,
    /// What cannot be decoded is an error.
    Stumbles,
    /// No request gets an answer.
    IsSilent,
}

struct World<G> {
    ground: G,
    manner: Manner,
    keeps: bool,
    seed: u64,
    ledger: Arc<Mutex<Ledger>>,
}

impl<G: Ground> World<G> {
    fn pace(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * G::PACE)
    }

    /// A client whose connections are cut by the sender.
    async fn client(&self, name: &str, chance: &mut Chance) -> (Connection, watch::Sender<u32>) {
        let cuts = watch::Sender::new(0);
        let (ground, cut) = (self.ground.clone(), cuts.clone());
        let transport = move |_: Server| {
            let (ground, cut) = (ground.clone(), cut.subscribe());
            async move { through_a_cable(ground, cut).await }
        };
        let policy = Reconnect {
            initial_delay: Self::pace(0.5),
            max_delay: Self::pace(4.0),
            initial: true,
            ..Reconnect::default()
        };
        let mut options = Options::new("world", 1883)
            .client_identifier(format!("{name}-{}", self.seed))
            .reconnect(policy)
            .transport(transport);
        if self.keeps {
            let kept = Duration::from_secs(3_600);
            options = options.clean_start(CleanStart::Never);
            options = options.session_expiry_interval(kept);
        }
        if chance.is(50) {
            options = options.profile(ServerProfile::Mosquitto20);
        }
        if chance.is(30) {
            options = options.max_in_flight(1);
        }
        (Connection::open(options).await.expect("a connection"), cuts)
    }

    fn template(&self, shares: bool) -> TopicTemplate {
        let share = if shares { "$share/workers/" } else { "" };
        let template = format!("{share}work/{}/{{by}}/{{rest#}}", self.seed);
        template.parse().expect("a template")
    }
}

async fn through_a_cable<G: Ground>(
    ground: G,
    mut cut: watch::Receiver<u32>,
) -> io::Result<DuplexStream> {
    let (ours, mut theirs) = duplex(16 * 1024);
    tokio::spawn(async move {
        let Ok(mut server) = ground.open().await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut theirs, &mut server) => {}
            _ = cut.changed() => {}
        }
    });
    Ok(ours)
}

/// What a handler says that does not want to.
const UNWILLING: &str = "it does not want to";

/// What a program makes of a request: the answer, or an error. Notes what is wrong with the request.
async fn answer(
    ledger: Arc<Mutex<Ledger>>,
    mut chance: Chance,
    rest: Duration,
    manner: Manner,
    request: RequestMessage,
) -> Result<String, HandlerError> {
    let typed = TypedMessage::<Job>::decode((*request).clone(), &Jobs);
    let text = request.text()?;
    let written_badly = text.strip_prefix("bad ");
    let job = Jobs.decode(&Bytes::from(written_badly.unwrap_or(text).to_owned()))?;
    {
        let mut ledger = ledger.lock().unwrap();
        if request
            .properties
            .as_ref()
            .is_none_or(|it| it.response_topic.is_none())
        {
            ledger.problems.push(format!("{job:?} asks for nothing"));
        }
        if written_badly.is_some() == typed.value.is_ok() {
            ledger
                .problems
                .push(format!("{text} was decoded to {:?}", typed.value));
        }
        if request.params().get("by") != Some(&job.0) {
            ledger
                .problems
                .push(format!("{job:?} has {:?}", request.params()));
        }
        let times = if manner == Manner::Repeats { 2 } else { 1 };
        *ledger.handled.entry(job.clone()).or_default() += times;
        if !ledger.is_well && chance.is(10) {
            return Err(UNWILLING.into());
        }
    }
    if chance.is(30) {
        sleep(rest * chance.below(20) as u32 / 10).await;
    }
    match manner {
        Manner::Swaps => Ok(format!("done {}", good(&(job.0, job.1 + 1)))),
        Manner::Stumbles => {
            let (by, number) = typed.value?;
            Ok(format!("done {by} {number}"))
        }
        Manner::IsSilent => Err(UNWILLING.into()),
        Manner::Right | Manner::Repeats => Ok(format!("done {}", good(&job))),
    }
}

/// Answers, by a stream of requests or by a router, until it is dropped.
async fn respond<G: Ground>(
    world: Arc<World<G>>,
    client: Client,
    template: TopicTemplate,
    mut chance: Chance,
    qos: QoS,
) {
    let ledger = Arc::clone(&world.ledger);
    let (rest, manner) = (World::<G>::pace(1.0), world.manner);
    if chance.is(50) {
        let concurrency = 1 + chance.below(3) as usize;
        let route = Route::new(template).qos(qos).concurrency(concurrency);
        let problems = Arc::clone(&world.ledger);
        let chances = Mutex::new(chance);
        let router = Router::new()
            .respond(route, move |request| {
                let chance = chances.lock().unwrap().apart();
                answer(Arc::clone(&ledger), chance, rest, manner, request)
            })
            .on_error(move |error, _| {
                let problems = Arc::clone(&problems);
                async move {
                    if error.to_string() != UNWILLING {
                        let problem = format!("a handler has failed: {error}");
                        problems.lock().unwrap().problems.push(problem);
                    }
                }
            });
        let ended = router.run(&client).await;
        let problem = format!("a router has ended: {ended:?}");
        return world.ledger.lock().unwrap().problems.push(problem);
    }
    let mut requests = match client.responder(template).qos(qos).await {
        Ok(requests) => requests,
        Err(error) => {
            let problem = format!("a responder was refused: {error}");
            return world.ledger.lock().unwrap().problems.push(problem);
        }
    };
    while let Some(request) = requests.next().await {
        let (ledger, apart) = (Arc::clone(&ledger), chance.apart());
        match answer(ledger, apart, rest, manner, request.clone()).await {
            Ok(payload) => drop(request.respond(payload).await), // if it fails its asker waits in vain
            Err(error) if error.to_string() == UNWILLING => {}
            Err(error) => {
                let problem = format!("a handler has failed: {error}");
                world.ledger.lock().unwrap().problems.push(problem);
            }
        }
    }
    let problem = "a stream of requests has ended".to_owned();
    world.ledger.lock().unwrap().problems.push(problem);
}

/// Asks once. Returns whether there was an answer.
async fn ask<G: Ground>(
    world: &World<G>,
    client: &Client,
    job: Job,
    is_bad: bool,
    qos: QoS,
    limit: Duration,
) -> bool {
    let payload = if is_bad { bad(&job) } else { good(&job) };
    let topic = format!("work/{}/{}/any/how", world.seed, job.0);
    {
        let mut ledger = world.ledger.lock().unwrap();
        ledger.asked += 1;
        if qos == QoS::ExactlyOnce {
            ledger.at_qos_2.insert(job.clone());
        }
    }
    let begun = Instant::now();
    let result = client.request(topic, payload).qos(qos).timeout(limit).await;
    let took = begun.elapsed();
    let mut ledger = world.ledger.lock().unwrap();
    ledger.ended += 1;
    if G::PACE >= 1.0 && took > limit + Duration::from_millis(2) {
        let problem = format!("{job:?} may take {limit:?}, and took {took:?}");
        ledger.problems.push(problem);
    }
    match result {
        Ok(response) => {
            if response.payload != format!("done {}", good(&job)) {
                let problem = format!("{job:?} was answered by {:?}", response.text());
                ledger.problems.push(problem);
            }
            ledger.answered += 1;
            true
        }
        Err(error) => {
            if error.delivery() == Delivery::NotSent && ledger.handled.contains_key(&job) {
                let problem = format!("{job:?} was not sent, and somebody has got it: {error}");
                ledger.problems.push(problem);
            }
            if matches!(error, RequestError::Unanswerable { .. }) {
                ledger.problems.push(format!("{job:?}: {error}"));
            }
            false
        }
    }
}

/// Asks for jobs, and when all is well again until there is an answer.
async fn ask_for_jobs<G: Ground>(
    world: Arc<World<G>>,
    name: String,
    client: Client,
    mut chance: Chance,
    mut well: watch::Receiver<bool>,
) {
    let mut number = 0;
    let mut next = || {
        number += 1;
        (name.clone(), number)
    };
    let mut calls = JoinSet::new();
    for _ in 0..4 + chance.below(8) {
        let (world, client, job) = (Arc::clone(&world), client.clone(), next());
        let limit = World::<G>::pace([0.5, 5.0, 20.0][chance.below(3) as usize]);
        let (is_bad, qos, patient) = (chance.is(30), chance.qos(), chance.is(80));
        let given_up = World::<G>::pace(chance.below(30) as f64 / 10.0);
        calls.spawn(async move {
            let asking = ask(&world, &client, job, is_bad, qos, limit);
            if patient {
                asking.await;
            } else if tokio::time::timeout(given_up, asking).await.is_err() {
                world.ledger.lock().unwrap().ended += 1; // dropped: that is its end
            }
        });
        sleep(World::<G>::pace(chance.below(60) as f64 / 10.0)).await;
    }
    while calls.join_next().await.is_some() {}
    well.wait_for(|is_well| *is_well)
        .await
        .expect("the world lasts");
    for _ in 0..50 {
        let limit = World::<G>::pace(60.0).max(Duration::from_secs(10));
        if ask(&world, &client, next(), false, QoS::AtLeastOnce, limit).await {
            return;
        }
        sleep(World::<G>::pace(1.0)).await; // nobody is subscribed yet
    }
    let problem = format!("{name} gets no answer, though all is well");
    world.ledger.lock().unwrap().problems.push(problem);
}

/// Plays the world of a seed; returns what is wrong, and how many requests were answered.
async fn play<G: Ground>(ground: G, seed: u64, manner: Manner) -> (Vec<String>, u32) {
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..8 {
        chance.below(2);
    }
    let world = Arc::new(World {
        ground,
        manner,
        keeps: chance.is(50),
        seed,
        ledger: Arc::default(),
    });
    let qos = chance.qos();
    let shares = chance.is(50);
    let (well, is_well) = watch::channel(false);
    let (mut clients, mut cables) = (Vec::new(), Vec::new());
    let (mut answering, mut asking) = (JoinSet::new(), JoinSet::new());
    for number in 0..1 + u32::from(shares) {
        let (connection, cuts) = world
            .client(&format!("answers-{number}"), &mut chance)
            .await;
        let template = world.template(shares);
        let (world, client) = (Arc::clone(&world), connection.client());
        answering.spawn(respond(world, client, template, chance.apart(), qos));
        clients.push(connection);
        cables.push(cuts);
    }
    for number in 0..1 + chance.below(3) {
        let name = format!("asks-{number}");
        let (connection, cuts) = world.client(&name, &mut chance).await;
        let (world, client) = (Arc::clone(&world), connection.client());
        let asker = ask_for_jobs(world, name, client, chance.apart(), is_well.clone());
        asking.spawn(asker);
        clients.push(connection);
        cables.push(cuts);
    }
    for _ in 0..chance.below(8) {
        sleep(World::<G>::pace(chance.below(80) as f64 / 10.0)).await;
        let cable = &cables[chance.below(cables.len() as u64) as usize];
        cable.send_modify(|cuts| *cuts += 1);
    }
    world.ledger.lock().unwrap().is_well = true;
    well.send_replace(true);
    while let Some(ended) = asking.join_next().await {
        ended.expect("no program panics");
    }
    answering.abort_all();
    while let Some(ended) = answering.join_next().await {
        assert!(ended.is_ok() || ended.unwrap_err().is_cancelled());
    }
    for connection in clients {
        let client = connection.client();
        let drained = connection.drain(Duration::from_secs(60)).await;
        let stats = client.stats();
        let left = (
            stats.in_flight,
            stats.outgoing,
            client.unacknowledged().messages,
        );
        // One that was just cut off ends by that, with nothing undone.
        let undone = (drained.not_sent, drained.unknown, drained.unflushed);
        if (undone, left) != ((0, 0, 0), (0, 0, 0)) {
            let problem = format!("left behind: {left:?}, {drained:?}");
            world.ledger.lock().unwrap().problems.push(problem);
        }
    }
    let mut ledger = std::mem::take(&mut *world.ledger.lock().unwrap());
    if ledger.asked != ledger.ended {
        let problem = format!("{} calls have {} ends", ledger.asked, ledger.ended);
        ledger.problems.push(problem);
    }
    if world.keeps && qos == QoS::ExactlyOnce {
        let handled = ledger.handled.iter();
        let twice = handled.filter(|(job, times)| **times > 1 && ledger.at_qos_2.contains(*job));
        let problems: Vec<_> = twice
            .map(|(job, times)| format!("{job:?} at QoS 2 was handled {times} times"))
            .collect();
        ledger.problems.extend(problems);
    }
    (ledger.problems, ledger.answered)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn check(seed: u64, problems: &[String]) {
    assert!(
        problems.is_empty(),
        "seed {seed} (FERROMQTT_FIRST_SEED={seed} FERROMQTT_SEEDS=1):\n{}",
        problems.join("\n")
    );
}

#[tokio::test(start_paused = true)]
async fn in_random_worlds_each_request_gets_its_own_answer_or_a_typed_end() {
    let (first, seeds) = (
        number("FERROMQTT_FIRST_SEED", 0),
        number("FERROMQTT_SEEDS", 200),
    );
    let mut answered = 0;
    for seed in first..first + seeds {
        let broker = Arc::new(TestBroker::new());
        let (problems, answers) = play(Memory(Arc::clone(&broker)), seed, Manner::Right).await;
        check(seed, &problems);
        answered += answers;
        if let Ok(broker) = Arc::try_unwrap(broker) {
            broker.stop().await;
        }
    }
    assert!(u64::from(answered) > seeds, "most requests are answered");
}

#[tokio::test(start_paused = true)]
async fn the_checks_of_worlds_find_programs_that_are_wrong() {
    for (manner, text) in [
        (Manner::Swaps, "was answered by"),
        (Manner::Repeats, "was handled 2 times"),
        (Manner::Stumbles, "a handler has failed"),
        (Manner::IsSilent, "gets no answer"),
    ] {
        let mut found = Vec::new();
        for seed in 0..30 {
            let ground = Memory(Arc::new(TestBroker::new()));
            found = play(ground, seed, manner).await.0;
            if found.iter().any(|problem| problem.contains(text)) {
                break;
            }
        }
        let is_found = found.iter().any(|problem| problem.contains(text));
        assert!(is_found, "{manner:?}: {found:?}");
    }
}

#[cfg(all(feature = "tls", feature = "websocket", unix))]
mod on_mosquitto {
    use tokio::net::TcpStream;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::mosquitto_process::{Mosquitto, free_port};

    #[derive(Clone)]
    struct Sockets(u16);

    impl Ground for Sockets {
        const PACE: f64 = 0.03;

        async fn open(&self) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send> {
            TcpStream::connect(("127.0.0.1", self.0)).await
        }
    }

    #[tokio::test]
    async fn in_random_worlds_on_mosquitto_too() {
        let port = free_port();
        let listener = format!("listener {port} 127.0.0.1\nmax_queued_messages 0\n");
        let folder = format!("ferromqtt-mosquitto-worlds-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let broker = spawn_blocking(move || Mosquitto::start(folder, &listener)).await;
        let broker = broker.unwrap();
        let first = number("FERROMQTT_FIRST_SEED", 0);
        for seed in first..first + number("FERROMQTT_SEEDS", 200) / 10 {
            let (problems, _) = play(Sockets(port), seed, Manner::Right).await;
            check(seed, &problems);
        }
        drop(broker);
    }
}
