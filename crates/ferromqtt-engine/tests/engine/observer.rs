//! Another client of the same server, which sees what that has accepted.

use std::time::Instant;

use bytes::BytesMut;
use ferromqtt_proto::{
    Client, Options, Properties, QoS, QueueId, Session, Subscribe, TransportRequest,
};
use ferromqtt_testing::{Broker, ConnectionId};

pub(crate) struct Observer {
    client: Client,
    connection: ConnectionId,
    input: BytesMut,
}

impl Observer {
    pub(crate) fn new(broker: &mut Broker, now: Instant, topic: &str) -> Self {
        let mut options = Options::default();
        options.client_identifier = "observer".try_into().unwrap();
        options.keep_alive = 0;
        let mut observer = Self {
            client: Client::new(options, Session::default(), 1).unwrap(),
            connection: broker.open(now),
            input: BytesMut::new(),
        };
        observer.client.connect(now);
        let request = observer.client.poll_transport();
        assert!(matches!(request, Some(TransportRequest::Open { .. })));
        observer.client.transport_opened(now);
        observer.observe(broker, now);
        let subscribe = Subscribe {
            filters: vec![(topic.try_into().unwrap(), QoS::ExactlyOnce.into())],
            properties: Properties::default(),
            queue: QueueId::DEFAULT,
        };
        observer.client.subscribe(now, subscribe).unwrap();
        observer.observe(broker, now);
        observer
    }

    /// The payloads that have come since the last look.
    pub(crate) fn observe(&mut self, broker: &mut Broker, now: Instant) -> Vec<String> {
        let mut payloads = Vec::new();
        loop {
            let mut busy = false;
            while let Some(chunk) = self.client.poll_transmit(now) {
                let mut output = BytesMut::from(&chunk[..]);
                broker.handle_input(now, self.connection, &mut output);
                busy = true;
            }
            while let Some(chunk) = broker.poll_transmit(self.connection) {
                self.input.extend_from_slice(&chunk);
                busy = true;
            }
            self.client.handle_input(now, &mut self.input);
            while self.client.poll_event().is_some() {}
            while let Some(message) = self.client.next_message(QueueId::DEFAULT) {
                payloads.push(String::from_utf8(message.payload.to_vec()).unwrap());
            }
            if !busy {
                return payloads;
            }
        }
    }
}
