//! What the application, and the driver between its transports, call the client for.

use std::time::Duration;

use bytes::Bytes;
use ferromqtt_fuzz::operations::Kind;
use ferromqtt_fuzz::source::Source;
use ferromqtt_fuzz::{packets, properties};
use ferromqtt_proto::packet::{Disconnect, PublishRef};
use ferromqtt_proto::{InvalidPublish, Publish, Subscribe, Unsubscribe};

use super::World;

impl World {
    /// What a driver does that asks for credentials at each attempt.
    pub(super) fn renew_credentials(&mut self, source: &mut Source<'_>) {
        if source.flag() {
            self.client.fail_credentials(self.now, "none".into());
            return;
        }
        let user_name = source.option(Source::text);
        let password = source.option(|source| Bytes::copy_from_slice(source.bytes()));
        let _ = self.client.set_credentials(user_name, password);
    }

    pub(super) fn publish_any(&mut self, source: &mut Source<'_>) {
        let mut publish = Publish::new(source.topic(), source.payload());
        publish.qos = source.qos();
        let flags = source.byte();
        publish.retain = flags & 1 == 1;
        publish.properties = (flags & 2 == 2)
            .then(|| Box::new(properties::some_of(&properties::OF_PUBLISH, source)));
        if flags & 4 == 4
            && let Some(alias) = publish.properties.as_ref().and_then(|it| it.topic_alias)
            && let Ok(topic) = self.client.topic_of_alias(alias)
        {
            publish.topic = topic;
        }
        self.publish(publish);
    }

    pub(super) fn publish(&mut self, publish: Publish) {
        let kind = Kind::Publish(publish.qos);
        match self.client.publish(self.now, publish.clone()) {
            Ok(op) => self.operations.accept(op, kind),
            Err(InvalidPublish::QueueFull { .. }) => self.refused = Some(publish),
            Err(_) => {}
        }
    }

    pub(super) fn request(&mut self, source: &mut Source<'_>) {
        let mut request = Publish::new(source.topic(), source.payload());
        request.qos = source.qos();
        let kind = Kind::Request(request.qos);
        match self.client.request(self.now, request.clone()) {
            Ok(op) => self.operations.accept(op, kind),
            Err(InvalidPublish::QueueFull { .. }) => self.refused = Some(request),
            Err(_) => {}
        }
    }

    /// A store accepts a message, and publishes it at once, late, or not at all.
    pub(super) fn publish_recorded(&mut self, source: &mut Source<'_>) {
        let mut message = Publish::new(source.topic(), source.payload());
        message.qos = source.qos();
        let Ok(key) = self.client.record_accepted(&mut message, None, false) else {
            return;
        };
        if source.flag() {
            self.client.record_ended(key);
            return;
        }
        let expires_at = source.flag().then(|| self.now + Duration::from_secs(1));
        let published = (self.client).publish_recorded(self.now, key, message, expires_at);
        assert!(published.is_ok(), "it was accepted just now");
    }

    pub(super) fn publish_at_once(&mut self, source: &mut Source<'_>) {
        let topic = source.topic();
        let payload = source.payload();
        let properties = source.option(|source| properties::some_of(&[0, 1, 2, 3, 4], source));
        let publish = PublishRef {
            dup: false,
            qos: source.qos(),
            retain: source.flag(),
            topic: topic.as_bytes(),
            packet_id: None,
            properties: properties.as_ref(),
            payload_len: payload.len(),
        };
        let _ = self.client.publish_at_once(publish, &payload);
    }

    pub(super) fn subscribe(&mut self, source: &mut Source<'_>) {
        let queue = self.queues.choose(source);
        let filters: Vec<_> = (0..source.below(4))
            .map(|_| (source.filter(), packets::subscription(source)))
            .collect();
        let properties = properties::some_of(&[25, 26], source);
        let kind = Kind::Subscribe(filters.len());
        let subscribe = Subscribe {
            filters,
            properties,
            queue,
        };
        if let Ok(op) = self.client.subscribe(self.now, subscribe) {
            self.operations.accept(op, kind);
        }
    }

    pub(super) fn unsubscribe(&mut self, source: &mut Source<'_>) {
        let filters: Vec<_> = (0..source.below(4)).map(|_| source.filter()).collect();
        let properties = properties::some_of(&[25], source);
        let kind = Kind::Unsubscribe(filters.len());
        let unsubscribe = Unsubscribe {
            filters,
            properties,
        };
        if let Ok(op) = self.client.unsubscribe(self.now, unsubscribe) {
            self.operations.accept(op, kind);
        }
    }

    pub(super) fn abandon(&mut self, source: &mut Source<'_>) {
        let Some(op) = self.operations.choose(source.byte().into()) else {
            return;
        };
        let abandoned = self.client.abandon(op).is_some();
        assert_eq!(abandoned, self.operations.is_pending(op), "{op:?}");
        if abandoned {
            self.operations.abandon(op);
        }
    }

    pub(super) fn leave(&mut self, source: &mut Source<'_>) {
        let disconnect = packets::disconnect(source);
        match source.option(|source| source.below(20)) {
            None => self.disconnect(disconnect),
            Some(seconds) => {
                let until = self.now + Duration::from_secs(seconds as u64);
                self.client.leave(self.now, disconnect, Some(until));
            }
        }
    }

    pub(super) fn disconnect(&mut self, disconnect: Disconnect) {
        self.client.disconnect(self.now, disconnect);
        self.settle();
        self.operations.check_all_ended();
    }
}
