//! `seeds`: what fails a seed, and what is said of it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use ferromqtt_testing::{
    Chaos, ChaosError, DrawnFaults, FaultScript, Faults, SeedOutcome, Seeds, TestBroker, seeds,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

/// CONNECT of 3.1.1.
const CONNECT: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a";

/// PINGREQ.
const PING: &[u8] = b"\xc0\x00";

/// The text of the panic with which seeds from 0 on end.
fn failure<F, P>(test: F) -> String
where
    F: Fn(Chaos) -> P,
    P: Future,
    P::Output: SeedOutcome,
{
    let run = || seeds(0..100).end_at(Duration::from_secs(3_600)).run(test);
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("a seed fails");
    panic.downcast_ref::<String>().expect("a text").clone()
}

/// Talks to a broker with these faults until the link ends, at most so often; returns how many answers came.
async fn pings(broker: &TestBroker, most: usize) -> Result<usize, ChaosError> {
    let mut stream = broker.connect()?;
    stream.write_all(CONNECT).await?;
    stream.read_exact(&mut [0; 4]).await?;
    for answered in 0..most {
        let answer = match stream.write_all(PING).await {
            Ok(()) => stream.read_exact(&mut [0; 2]).await.map(drop),
            Err(error) => Err(error),
        };
        if answer.is_err() {
            return Ok(answered);
        }
    }
    Ok(most)
}

#[test]
fn no_seed_at_all_is_a_failure() {
    let run = || seeds(0..0).run(|_| std::future::ready(()));
    let panic = catch_unwind(run).expect_err("it proves nothing");
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
    let text = text.expect("a text");
    assert!(text.starts_with("there was no seed to play"), "{text}");
}

#[test]
fn each_seed_is_played_once_with_its_own_script() {
    let played = RefCell::new(Vec::new());
    seeds([3, 1, 3]).run(|chaos| {
        let script = chaos.draw(Faults::cuts(0.05)).script().clone();
        played.borrow_mut().push((chaos.seed(), script));
        sleep(Duration::from_secs(3_600)) // in no time
    });
    let played = played.into_inner();
    assert_eq!(played.iter().map(|it| it.0).collect::<Vec<_>>(), [3, 1, 3]);
    assert_eq!(played[0].1, Faults::cuts(0.05).draw(3));
    assert_eq!(played[0], played[2]);
}

#[test]
fn a_failing_script_is_shrunk_and_shown_as_text_and_as_code() {
    let text = failure(|chaos| async move {
        let broker = TestBroker::with_faults(chaos.draw(Faults::cuts(0.02).delays(0.02)));
        let answers = pings(&broker, 50).await?;
        chaos.check(answers == 50)
    });
    assert!(text.contains(" fails: the check at "), "{text}");
    assert!(
        text.contains("The shortest script that fails (1 of "),
        "{text}"
    );
    assert!(
        text.contains("\nAs code:\n    TestBroker::with_faults(FaultScript::new()\n"),
        "{text}"
    );
    assert!(text.contains(".cut())"), "{text}");
    assert!(text.contains("\nWhat happened:\n"), "{text}");
    assert!(text.contains("PINGREQ"), "{text}");
    let test = "a_failing_script_is_shrunk_and_shown_as_text_and_as_code";
    assert!(text.contains(&format!(" cargo test {test}")), "{text}");
    let line = text
        .lines()
        .skip_while(|line| !line.starts_with("The shortest"))
        .nth(1);
    let script: FaultScript = line.unwrap().parse().unwrap();
    assert_eq!(script.entries.len(), 1);
    // It fails by hand as well.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let answers = runtime.block_on(pings(&TestBroker::with_faults(script), 50));
    assert!(answers.unwrap() < 50);
}

#[test]
fn a_test_that_fails_without_faults_is_told_so() {
    let text = failure(|chaos| async move {
        let _broker = TestBroker::with_faults(chaos.draw(Faults::cuts(0.1)));
        assert!(chaos.seed() < 2, "three is too many");
    });
    assert!(
        text.starts_with("seed 2 fails: three is too many (at "),
        "{text}"
    );
    assert!(text.contains("It fails without any fault."), "{text}");
}

#[test]
fn any_error_fails_a_seed() {
    let text = failure(|_| async { Err::<(), _>(std::fmt::Error) });
    assert!(text.starts_with("seed 0 fails: Error\n"), "{text}");
    let text = failure(|chaos| async move {
        "x".parse::<u8>()?;
        chaos.check(true)
    });
    assert!(
        text.starts_with("seed 0 fails: invalid digit found in string\n"),
        "{text}"
    );
}

#[test]
fn a_panic_of_a_task_fails_a_seed_though_nobody_waits_for_it() {
    let text = failure(|_| async {
        tokio::spawn(async { panic!("in the background") });
        tokio::task::yield_now().await;
    });
    assert!(
        text.starts_with("seed 0 fails: in the background (at "),
        "{text}"
    );
}

#[test]
fn a_test_that_waits_forever_fails() {
    let text = failure(|_| std::future::pending::<()>());
    let expected = "seed 0 fails: the test has not ended after 3600 s of virtual time";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_real_socket_is_refused_in_words() {
    let text = failure(|_| async {
        let _ = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    });
    let expected = "seed 0 fails: seeds play without sockets, since what those do depends on the system: connect in memory";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_failure_that_the_seed_does_not_bring_again_is_told_so() {
    let runs = Cell::new(0);
    let text = failure(|_| {
        runs.set(runs.get() + 1);
        let first = runs.get() == 1;
        async move { assert!(!first, "only once") }
    });
    assert!(text.starts_with("seed 0 fails: only once"), "{text}");
    assert!(text.contains("passed when it was played again"), "{text}");
}

#[test]
fn shrinking_takes_no_more_runs_than_it_may() {
    let runs = Cell::new(0);
    let run = || {
        seeds([0]).most_tries(3).run(|chaos| {
            runs.set(runs.get() + 1);
            let whole = chaos.draw(Faults::cuts(0.1));
            async move { assert!(whole.script().entries.is_empty()) }
        });
    };
    catch_unwind(AssertUnwindSafe(run)).expect_err("it fails");
    assert_eq!(runs.get(), 2 + 3);
}

#[tokio::test]
async fn a_runtime_of_its_own_is_asked_for() {
    let run = || seeds(0..1).run(|_| async {});
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("there is a runtime");
    let text = panic.downcast_ref::<&str>().expect("a text");
    assert!(text.contains("call them in a #[test] function"), "{text}");
}

/// Restarts at a packet, or at a time.
#[test]
fn events_happen_behind_their_packet_and_at_their_time() {
    seeds([0]).run(|_| async {
        let script: FaultScript = "at packet 4 restart".parse()?;
        let broker = TestBroker::with_faults(script);
        // CONNECT, CONNACK, PINGREQ, and the restart behind PINGRESP.
        let answers = pings(&broker, 9).await?;
        assert!(answers <= 1, "{answers}");
        assert!(broker.chart().contains("-- reset --"), "{}", broker.chart());

        let script: FaultScript = "at 3s partition for 5s".parse()?;
        let broker = TestBroker::with_faults(script);
        assert!(broker.connect().is_ok());
        sleep(Duration::from_secs(4)).await;
        assert!(broker.connect().is_err());
        sleep(Duration::from_secs(5)).await;
        assert!(broker.connect().is_ok());
        Ok::<_, ChaosError>(())
    });
}

/// A script may hold a payload, by `replace`.
#[test]
fn nothing_of_a_run_shows_what_a_rule_puts_in_place_of_a_packet() {
    let script: FaultScript = "sends PUBLISH replace 0x736563726574".parse().unwrap();
    let drawn: DrawnFaults = script.into();
    let chaos: RefCell<Option<Chaos>> = RefCell::default();
    let run: Seeds<_> = seeds(0..1);
    let of_seeds = format!("{run:?}");
    run.run(|it| {
        drop(it.draw(Faults::none()));
        *chaos.borrow_mut() = Some(it);
        async {}
    });
    let text = format!("{drawn:?} {chaos:?} {of_seeds}");
    for secret in ["secret", "736563", "115, 101"] {
        assert!(!text.contains(secret), "{text}");
    }
}
