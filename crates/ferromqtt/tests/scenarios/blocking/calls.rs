//! Calls of several threads.

use std::collections::HashSet;
use std::future::pending;
use std::io;
use std::thread;
use std::time::Duration;

use ferromqtt::blocking::{Client, RecvError};
use ferromqtt::{
    Acknowledge, Awaited, ConnectionEvent, DeclaredSubscription, Delivery, Error, Options,
    Overflow, PublishError, QoS, QueueOptions, Reconnect, RequestError,
};
use ferromqtt_testing::{MemoryStream, TestBroker};

use super::{Host, connect, in_time};
use crate::cable::Cable;
use crate::options;

const MOMENT: Duration = Duration::from_millis(1);

/// Nothing of the thread, the process or the locks behind them.
#[test]
fn what_is_shown_of_calls_and_readers_is_about_the_application() {
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker);
        let publish = client.publish("t", "hello").qos(QoS::AtLeastOnce);
        let message = r#"Publish { topic: "t", payload: 5 bytes, qos: AtLeastOnce, retain: false, properties: None }"#;
        assert_eq!(format!("{publish:?}"), format!("Call({message})"));
        let wrong = client.publish("t/#", "hello");
        assert!(format!("{wrong:?}").starts_with("Call(Publish("));
        let request = client.request("t", "hello");
        assert_eq!(format!("{request:?}"), format!("Call(Request({message}))"));
        let subscribe = client.subscribe("door/#").and("t", QoS::AtLeastOnce);
        let filters = r#"{ filters: ["door/#", "t"], .. }"#;
        assert_eq!(
            format!("{subscribe:?}"),
            format!("Call(Subscribe {filters})")
        );
        let messages = subscribe.wait().unwrap();
        assert_eq!(format!("{messages:?}"), format!("Messages {filters}"));
        let events = client.events().unwrap();
        assert_eq!(format!("{events:?}"), "Events { .. }");
        let receipt = publish.enqueue().unwrap();
        assert_eq!(format!("{receipt:?}"), r#"Receipt("accepted")"#);
        client.disconnect().unwrap();
    });
}

/// Four threads publish by one client, and the messages of each come in order.
fn threads_publish(receiver: &Client, sender: &Client, qos: QoS) {
    const THREADS: u8 = 4;
    const EACH: u8 = 60;
    let mut messages = receiver.subscribe("t").qos(qos).wait().unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                for count in 0..EACH {
                    let publish = sender.publish("t", vec![number, count]);
                    publish.qos(qos).wait().unwrap();
                }
            });
        }
        let mut counts = [0; THREADS as usize];
        for message in messages.by_ref().take(usize::from(THREADS * EACH)) {
            let &[number, count] = &*message.payload else {
                panic!("{message:?}");
            };
            assert_eq!(count, counts[usize::from(number)], "in order");
            counts[usize::from(number)] += 1;
        }
        assert_eq!(counts, [EACH; THREADS as usize]);
    });
    assert!(messages.is_empty());
    messages.unsubscribe().unwrap();
}

#[test]
fn threads_publish_by_one_client_at_every_qos_in_memory() {
    in_time(|| {
        let broker = TestBroker::new();
        let (receiver, sender) = (connect(&broker), connect(&broker));
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            threads_publish(&receiver, &sender, qos);
        }
        sender.disconnect().unwrap();
        receiver.disconnect().unwrap();
    });
}

#[test]
fn threads_publish_by_one_client_at_every_qos_over_tcp() {
    in_time(|| {
        let host = Host::start();
        let client = Client::connect(host.options()).unwrap();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            threads_publish(&client, &client, qos);
        }
        client.disconnect().unwrap();
    });
}

#[test]
fn a_reader_waits_for_as_long_as_it_is_told() {
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker);
        let mut messages = client.subscribe("t").wait().unwrap();
        assert_eq!(messages.try_recv(), Err(RecvError::Empty));
        assert_eq!(messages.recv_timeout(MOMENT), Err(RecvError::Empty));
        client
            .publish("t", "x")
            .qos(QoS::AtLeastOnce)
            .wait()
            .unwrap();
        assert_eq!(messages.recv_timeout(Duration::MAX).unwrap().payload, "x");
        for payload in ["y", "z"] {
            let publish = client.publish("t", payload).qos(QoS::AtLeastOnce);
            publish.wait().unwrap();
        }
        assert_eq!(messages.recv().unwrap().payload, "y");
        client.disconnect().unwrap();
        assert_eq!(messages.try_recv().unwrap().payload, "z");
        for end in [
            messages.try_recv(),
            messages.recv_timeout(MOMENT),
            messages.recv(),
        ] {
            assert_eq!(end, Err(RecvError::Ended));
        }
        assert_eq!(messages.next(), None);
    });
}

#[test]
fn enqueued_messages_have_receipts_and_calls_have_time_limits() {
    in_time(|| {
        let broker = TestBroker::new();
        let client = connect(&broker);
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let receipts: Vec<_> = (0..10)
                .map(|_| client.publish("t", "x").qos(qos).enqueue().unwrap())
                .collect();
            for receipt in receipts {
                receipt.wait().unwrap();
            }
            client
                .publish("t", "x")
                .qos(qos)
                .try_enqueue()
                .unwrap()
                .wait()
                .unwrap();
        }
        let nobody = client.request("nobody", "?").wait();
        assert_eq!(nobody, Err(RequestError::NoResponder));
        let _silent = client.subscribe("silent").wait().unwrap();
        let unanswered = client.request("silent", "?").timeout(MOMENT).wait();
        assert!(
            matches!(
                unanswered,
                Err(RequestError::TimedOut { limit: MOMENT, .. })
            ),
            "{unanswered:?}"
        );
        client.disconnect().unwrap();
    });
}

#[test]
fn before_there_is_a_server_calls_wait_within_their_time_limits() {
    in_time(|| {
        let unreachable = Options::new("nowhere", 1883)
            .transport(|_| pending::<io::Result<MemoryStream>>())
            .connect_timeout(Duration::from_secs(600));
        let client = Client::start(unreachable).unwrap();
        assert_eq!(client.wait_connected(MOMENT), Ok(false));
        assert_eq!(client.wait_closed(MOMENT), Ok(false));
        assert_eq!((client.is_connected(), client.end_cause()), (false, None));
        let publish = client.publish("t", "x").qos(QoS::AtLeastOnce);
        let withdrawn = PublishError::TimedOut {
            awaited: Awaited::PubAck,
            limit: MOMENT,
            delivery: Delivery::NotSent,
        };
        assert_eq!(publish.timeout(MOMENT).wait(), Err(withdrawn));
        let accepted = client.publish("t", "x").qos(QoS::AtLeastOnce).enqueue();
        let receipt = accepted.unwrap().wait_timeout(MOMENT).unwrap_err();
        drop(client);
        assert!(receipt.wait().is_err());
    });
}

#[test]
fn a_thread_responds_to_the_requests_of_others() {
    in_time(|| {
        let broker = TestBroker::new();
        let (asking, answering) = (connect(&broker), connect(&broker));
        let by_hand = QueueOptions {
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::DEFAULT
        };
        let responder = answering.responder("double").qos(QoS::AtLeastOnce);
        let mut questions = responder.queue(by_hand).wait().unwrap();
        assert_eq!(questions.granted_qos(), QoS::AtLeastOnce);
        let plain = asking.publish("double", "asks for nothing");
        plain.qos(QoS::AtLeastOnce).wait().unwrap();
        let none = questions.recv_timeout(Duration::from_millis(50));
        assert_eq!(none.map(|_| ()), Err(RecvError::Empty));
        assert_eq!(questions.try_recv().map(|_| ()), Err(RecvError::Empty));
        assert_eq!(questions.passed_over(), 1);
        assert_eq!(answering.unacknowledged().messages, 0);
        thread::scope(|scope| {
            let answers = scope.spawn(|| {
                for question in questions {
                    let answer = question.text().unwrap().repeat(2);
                    answering.respond(&question, answer).wait().unwrap();
                    answering.acknowledge(question.delivery.expect("at QoS 1"));
                }
            });
            let asks = ["a", "b", "c"].map(|question| {
                let asking = &asking;
                scope.spawn(move || asking.request("double", question).wait().unwrap().payload)
            });
            assert_eq!(asks.map(|ask| ask.join().unwrap()), ["aa", "bb", "cc"]);
            answering.disconnect().unwrap();
            answers.join().unwrap();
        });
        asking.disconnect().unwrap();
    });
}

#[test]
fn the_application_acknowledges_and_takes_declared_subscriptions() {
    in_time(|| {
        let broker = TestBroker::new();
        let by_hand = QueueOptions {
            acknowledge: Acknowledge::ByApplication,
            ..QueueOptions::DEFAULT
        };
        let jobs = DeclaredSubscription::new("jobs")
            .qos(QoS::AtLeastOnce)
            .queue(by_hand);
        let client = Client::connect(options(&broker).receive_maximum(1).subscription(jobs));
        let client = client.unwrap();
        let mut jobs = client.declared("jobs").unwrap();
        assert_eq!(jobs.granted_qos(), QoS::AtLeastOnce);
        for job in ["1", "2"] {
            client
                .publish("jobs", job)
                .qos(QoS::AtLeastOnce)
                .wait()
                .unwrap();
        }
        let first = jobs.recv().unwrap();
        // The server sends the second when the first is acknowledged.
        assert_eq!(jobs.try_recv(), Err(RecvError::Empty));
        client.acknowledge(first.delivery.expect("it is to be acknowledged"));
        assert_eq!(jobs.recv().unwrap().payload, "2");
        client.unsubscribe("jobs").unwrap();
        assert_eq!(jobs.recv(), Err(RecvError::Ended));
        let mut rest = client.messages().unwrap();
        assert_eq!(rest.try_recv(), Err(RecvError::Empty));
        client.disconnect().unwrap();
    });
}

#[test]
fn a_slow_reader_holds_back_its_server_and_loses_nothing() {
    in_time(|| {
        const COUNT: u32 = 500;
        let host = Host::start();
        let narrow = QueueOptions {
            limit: Some(1),
            overflow: Overflow::Wait,
            ..QueueOptions::UNBOUNDED
        };
        let client = Client::connect(host.options()).unwrap();
        let subscribing = client.subscribe("t").qos(QoS::AtLeastOnce).queue(narrow);
        let mut messages = subscribing.wait().unwrap();
        let receipts: Vec<_> = (0..COUNT)
            .map(|number| {
                let publish = client.publish("t", number.to_be_bytes().to_vec());
                publish.qos(QoS::AtLeastOnce).enqueue().unwrap()
            })
            .collect();
        for receipt in receipts {
            receipt.wait().unwrap(); // while nobody reads
        }
        for number in 0..COUNT {
            assert_eq!(*messages.recv().unwrap().payload, number.to_be_bytes());
        }
        assert_eq!(messages.take_lost(), 0);
        client.disconnect().unwrap();
    });
}

#[test]
fn a_client_whose_connection_is_cut_goes_on() {
    in_time(|| {
        const EACH: u32 = 100;
        let host = Host::start();
        let server = (host.broker.host(), host.broker.port()).into();
        let cable = host.runtime.block_on(Cable::to(server));
        let quickly = Reconnect {
            initial_delay: MOMENT,
            ..Reconnect::default()
        };
        let options = Options::new("127.0.0.1", cable.port()).reconnect(quickly);
        let client = Client::connect(options).unwrap();
        let mut events = client.events().unwrap();
        let connected = |event| matches!(event, Ok(ConnectionEvent::Connected { .. }));
        assert!(connected(events.recv()));
        assert_eq!(events.try_recv(), Err(RecvError::Empty));
        let watcher = Client::connect(host.options()).unwrap();
        let watching = watcher.subscribe("t").qos(QoS::AtLeastOnce);
        let mut seen = watching.wait().unwrap();
        let mut own = client.subscribe("own").wait().unwrap();
        thread::scope(|scope| {
            for thread in 0..2 {
                let client = client.clone();
                scope.spawn(move || {
                    for number in 0..EACH {
                        let payload = (thread * EACH + number).to_be_bytes().to_vec();
                        let publish = client.publish("t", payload);
                        publish.qos(QoS::AtLeastOnce).wait().unwrap();
                    }
                });
            }
            let mut payloads = HashSet::new();
            while payloads.len() < 2 * EACH as usize {
                let is_new = payloads.insert(seen.recv().unwrap().payload);
                if is_new && payloads.len() == EACH as usize {
                    cable.cut();
                }
            }
        });
        let lost = |event| matches!(event, Ok(ConnectionEvent::Disconnected { .. }));
        assert!(lost(events.recv()));
        assert!(connected(events.recv_timeout(super::LIMIT)));
        assert_eq!(client.wait_connected(None), Ok(true));
        client
            .publish("own", "x")
            .qos(QoS::AtLeastOnce)
            .wait()
            .unwrap();
        assert_eq!(own.recv().unwrap().payload, "x"); // it was renewed
        client.disconnect().unwrap();
        assert!(lost(events.recv()));
        assert_eq!(events.recv(), Err(RecvError::Ended));
    });
}

/// Each error of a call converts, so that a program can use `?` throughout.
#[test]
fn a_program_has_one_type_for_its_errors() {
    in_time(|| {
        fn program(broker: &TestBroker) -> Result<(), Error> {
            let client = Client::connect(options(broker))?;
            let mut messages = client.subscribe_all(["a", "b"]).wait()?;
            client.publish("a", "x").wait()?;
            client.publish("b", "y").enqueue()?.wait()?;
            assert_eq!(messages.recv()?.text()?, "x");
            messages.recv_timeout(super::LIMIT)?;
            messages.try_recv().map(drop)?;
            Ok(())
        }
        let error = program(&TestBroker::new()).unwrap_err();
        assert_eq!(error, Error::Receive(RecvError::Empty));
    });
}
