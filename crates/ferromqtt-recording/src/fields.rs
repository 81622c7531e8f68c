//! A packet as members of a JSON object, named by the standard's names.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use ferromqtt_proto::packet::{
    Ack, Connect, Packet, Properties, ProtocolVersion, PublishPacket, QoS, ReasonCode, TopicAlias,
    Will,
};
use ferromqtt_proto::{SubscriptionOptions, Utf8String};

use crate::json::JsonValue;

/// The members of an object, in order.
#[derive(Default)]
pub(crate) struct Fields {
    pub(crate) members: Vec<(String, JsonValue)>,
}

impl Fields {
    pub(crate) fn put(&mut self, name: &str, value: impl Into<JsonValue>) {
        self.members.push((name.to_owned(), value.into()));
    }

    /// A flag that is as a rule not set, and stands there only when it is.
    fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.put(name, true);
        }
    }
}

/// What a packet is made of. Without `payloads`, of what belongs to the application there are lengths and hashes.
pub(crate) fn of_packet(packet: &Packet, version: ProtocolVersion, payloads: bool) -> Fields {
    let mut fields = Fields::default();
    let is_v5 = version.is_v5();
    let mut properties = None;
    match packet {
        Packet::Connect(connect) => {
            of_connect(&mut fields, connect, payloads);
            properties = Some(&connect.properties);
        }
        Packet::ConnAck(connack) => {
            fields.put("reason", reason(connack.reason));
            fields.put("session_present", connack.session_present);
            properties = Some(&connack.properties);
        }
        Packet::Publish(publish) => {
            of_publish(&mut fields, publish, payloads);
            properties = publish.properties.as_deref();
        }
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            of_ack(&mut fields, ack, is_v5);
            properties = ack.properties.as_deref();
        }
        Packet::Subscribe(subscribe) => {
            fields.put("packet_id", u64::from(subscribe.packet_id.get()));
            let filters = subscribe.filters.iter();
            let filters = filters.map(|(filter, options)| of_filter(filter, options, is_v5));
            fields.put("filters", JsonValue::List(filters.collect()));
            properties = Some(&subscribe.properties);
        }
        Packet::SubAck(suback) => {
            fields.put("packet_id", u64::from(suback.packet_id.get()));
            fields.put("reasons", reasons(&suback.reasons));
            properties = Some(&suback.properties);
        }
        Packet::Unsubscribe(unsubscribe) => {
            fields.put("packet_id", u64::from(unsubscribe.packet_id.get()));
            let filters = unsubscribe.filters.iter().map(JsonValue::from);
            fields.put("filters", JsonValue::List(filters.collect()));
            properties = Some(&unsubscribe.properties);
        }
        Packet::UnsubAck(unsuback) => {
            fields.put("packet_id", u64::from(unsuback.packet_id.get()));
            if is_v5 {
                fields.put("reasons", reasons(&unsuback.reasons));
            }
            properties = Some(&unsuback.properties);
        }
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(disconnect) => {
            if is_v5 {
                fields.put("reason", reason(disconnect.reason));
            }
            properties = Some(&disconnect.properties);
        }
        Packet::Auth(auth) => {
            fields.put("reason", reason(auth.reason));
            properties = Some(&auth.properties);
        }
    }
    if let Some(properties) = properties.filter(|it| is_v5 && !it.is_empty()) {
        fields.put("properties", of_properties(properties, payloads));
    }
    fields
}

fn of_connect(fields: &mut Fields, connect: &Connect, payloads: bool) {
    fields.put("version", &*connect.protocol.to_string());
    fields.put("client_identifier", connect.client_identifier.as_str());
    fields.put("clean_start", connect.clean_start);
    fields.put("keep_alive", u64::from(connect.keep_alive));
    // The caller has masked both.
    if let Some(user_name) = &connect.user_name {
        fields.put("user_name", user_name.as_str());
    }
    if let Some(password) = &connect.password {
        fields.put("password", &*String::from_utf8_lossy(password));
    }
    if let Some(will) = &connect.will {
        fields.put("will", of_will(will, payloads));
    }
}

fn of_will(will: &Will, payloads: bool) -> JsonValue {
    let mut fields = Fields::default();
    fields.put("topic", will.topic.as_str());
    fields.put("qos", u64::from(will.qos.value()));
    fields.flag("retain", will.retain);
    fields.put("payload", of_data(&will.payload, payloads));
    if !will.properties.is_empty() {
        fields.put("properties", of_properties(&will.properties, payloads));
    }
    JsonValue::Object(fields.members)
}

fn of_publish(fields: &mut Fields, publish: &PublishPacket, payloads: bool) {
    fields.put("topic", publish.topic.as_str());
    fields.put("qos", u64::from(publish.qos.value()));
    if let Some(packet_id) = publish.packet_id {
        fields.put("packet_id", u64::from(packet_id.get()));
    }
    fields.flag("dup", publish.dup);
    fields.flag("retain", publish.retain);
    fields.put("payload", of_data(&publish.payload, payloads));
}

fn of_ack(fields: &mut Fields, ack: &Ack, is_v5: bool) {
    fields.put("packet_id", u64::from(ack.packet_id.get()));
    if is_v5 {
        fields.put("reason", reason(ack.reason));
    }
}

fn of_filter(filter: &str, options: SubscriptionOptions, is_v5: bool) -> JsonValue {
    let mut fields = Fields::default();
    fields.put("filter", filter);
    fields.put("qos", u64::from(options.qos.value()));
    if is_v5 {
        fields.flag("no_local", options.no_local);
        fields.flag("retain_as_published", options.retain_as_published);
        if options.retain_handling as u8 > 0 {
            fields.put("retain_handling", u64::from(options.retain_handling as u8));
        }
    }
    JsonValue::Object(fields.members)
}

/// A Reason Code by its number, as in the standard's tables.
fn reason(reason: ReasonCode) -> JsonValue {
    JsonValue::Text(format!("0x{:02X}", reason.value()))
}

fn reasons(codes: &[ReasonCode]) -> JsonValue {
    JsonValue::List(codes.iter().map(|&code| reason(code)).collect())
}

/// Data of the application: how long it is and its hash, and with `payloads` its text, if it is one.
fn of_data(data: &[u8], payloads: bool) -> JsonValue {
    let mut fields = Fields::default();
    fields.put("length", data.len() as u64);
    fields.put("hash", &*format!("{:016x}", hash(data)));
    if payloads && let Ok(text) = std::str::from_utf8(data) {
        fields.put("text", text);
    }
    JsonValue::Object(fields.members)
}

/// FNV-1a in 64 bits: to compare recordings, not to hide what was hashed.
fn hash(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A property's value.
trait RecordedField {
    fn field(&self, payloads: bool) -> JsonValue;
}

macro_rules! numbers {
    ($($type:ty: $value:ident => $number:expr),+ $(,)?) => {
        $(impl RecordedField for $type {
            fn field(&self, _: bool) -> JsonValue {
                let $value = *self;
                JsonValue::from(u64::from($number))
            }
        })+
    };
}

numbers! {
    u16: value => value,
    u32: value => value,
    NonZeroU16: value => value.get(),
    NonZeroU32: value => value.get(),
    TopicAlias: value => value.0.get(),
    QoS: value => value.value(),
}

impl RecordedField for bool {
    fn field(&self, _: bool) -> JsonValue {
        JsonValue::Bool(*self)
    }
}

impl RecordedField for Utf8String {
    fn field(&self, _: bool) -> JsonValue {
        JsonValue::from(self.as_str())
    }
}

impl RecordedField for Bytes {
    fn field(&self, payloads: bool) -> JsonValue {
        of_data(self, payloads)
    }
}

macro_rules! properties {
    ($properties:expr, $payloads:expr, $fields:expr; $($name:ident),+ $(,)?) => {
        // Without `..`: a property that is added to the core is missed here.
        let Properties { $($name,)+ authentication_data, subscription_identifiers, user_properties } = $properties;
        $(if let Some(value) = $name {
            $fields.put(stringify!($name), value.field($payloads));
        })+
        if authentication_data.is_some() {
            $fields.put("authentication_data", crate::mask::MASK);
        }
        if !subscription_identifiers.is_empty() {
            let identifiers = subscription_identifiers.iter().map(|&it| JsonValue::from(u64::from(it)));
            $fields.put("subscription_identifiers", JsonValue::List(identifiers.collect()));
        }
        if !user_properties.is_empty() {
            $fields.put("user_properties", of_user_properties(user_properties.iter(), $payloads));
        }
    };
}

fn of_properties(properties: &Properties, payloads: bool) -> JsonValue {
    let mut fields = Fields::default();
    properties! { properties, payloads, fields;
        payload_format_indicator,
        message_expiry_interval,
        content_type,
        response_topic,
        correlation_data,
        session_expiry_interval,
        assigned_client_identifier,
        server_keep_alive,
        authentication_method,
        request_problem_information,
        will_delay_interval,
        request_response_information,
        response_information,
        server_reference,
        reason_string,
        receive_maximum,
        topic_alias_maximum,
        topic_alias,
        maximum_qos,
        retain_available,
        maximum_packet_size,
        wildcard_subscription_available,
        subscription_identifier_available,
        shared_subscription_available,
    }
    JsonValue::Object(fields.members)
}

/// How many there are and a hash of all, and with `payloads` their names and values.
fn of_user_properties<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    payloads: bool,
) -> JsonValue {
    let pairs: Vec<_> = pairs.collect();
    let mut all = Vec::new();
    for (name, value) in &pairs {
        for text in [name, value] {
            all.extend_from_slice(&(text.len() as u64).to_be_bytes());
            all.extend_from_slice(text.as_bytes());
        }
    }
    let mut fields = Fields::default();
    fields.put("count", pairs.len() as u64);
    fields.put("hash", &*format!("{:016x}", hash(&all)));
    if payloads {
        let pair = |(name, value): (&str, &str)| JsonValue::List(vec![name.into(), value.into()]);
        fields.put(
            "pairs",
            JsonValue::List(pairs.into_iter().map(pair).collect()),
        );
    }
    JsonValue::Object(fields.members)
}
