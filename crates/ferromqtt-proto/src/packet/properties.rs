//! Properties of MQTT 5.0 (section 2.2.2): one table says which there are, what they hold, and where they may stand.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::subscription_identifiers::SubscriptionIdentifiers;
use super::user_properties::{USER_PROPERTY, UserProperties};
use super::{PacketType, ProtocolVersion, flag};
use crate::codec::{
    MAX_REMAINING_LENGTH, Reader, put_binary, put_var_int, put_with_length, var_int_len,
};
use crate::error::DecodeError;
use crate::packet::{QoS, ReasonCode};
use crate::property_error::{PropertyError, PropertyProblem};
use crate::shown::{Count, Masked, PeerText};
use crate::text::Utf8String;

/// Where properties stand: a packet, or the will inside CONNECT. One bit each, for the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PropertyPlace(u16);

impl PropertyPlace {
    pub(crate) const fn of(packet: PacketType) -> Self {
        Self(1 << packet as u16)
    }

    pub(crate) const WILL: Self = Self(1);
    pub(crate) const ANY: Self = Self(u16::MAX);
    const PUBLISH: Self = Self::of(PacketType::Publish);
    const MESSAGE: Self = Self::PUBLISH.or(Self::WILL);
    const CONNECT: Self = Self::of(PacketType::Connect);
    const CONNACK: Self = Self::of(PacketType::ConnAck);
    const SUBSCRIBE: Self = Self::of(PacketType::Subscribe);
    const DISCONNECT: Self = Self::of(PacketType::Disconnect);
    const AUTH: Self = Self::of(PacketType::Auth);
    const BOTH_CONNECT: Self = Self::CONNECT.or(Self::CONNACK);
    const ANSWERS: Self = Self::CONNACK
        .or(Self::of(PacketType::PubAck))
        .or(Self::of(PacketType::PubRec))
        .or(Self::of(PacketType::PubRel))
        .or(Self::of(PacketType::PubComp))
        .or(Self::of(PacketType::SubAck))
        .or(Self::of(PacketType::UnsubAck))
        .or(Self::DISCONNECT)
        .or(Self::AUTH);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn allowed_in(self, place: Self) -> bool {
        self.0 & place.0 != 0
    }

    /// The error for a property that this place cannot have.
    #[cold]
    pub(crate) const fn refuses(
        self,
        property: &'static str,
        problem: PropertyProblem,
    ) -> PropertyError {
        // The bit of a packet is its type, which stands in the upper half of the first byte.
        let name = match PacketType::from_first_byte((self.0.trailing_zeros() as u8) << 4) {
            Some(packet) => packet.name(),
            None => "the will",
        };
        PropertyError::new(name, property, problem)
    }
}

/// Whether binary data fits behind its two-byte length (section 1.5.6).
pub(crate) fn check_binary(data: Option<&Bytes>) -> Result<(), PropertyProblem> {
    match data.map(Bytes::len) {
        Some(bytes) if bytes > usize::from(u16::MAX) => Err(PropertyProblem::TooLong { bytes }),
        _ => Ok(()),
    }
}

/// A Topic Alias (section 3.3.2.3.4): never zero (MQTT-3.3.2-8), which has a Reason Code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicAlias(pub NonZeroU16);

/// A type that one property holds.
trait PropertyValue: Sized + fmt::Debug {
    /// What `Debug` shows of it.
    fn shown(&self) -> impl fmt::Debug {
        self
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError>;
    /// Appends the property: its identifier and this value.
    fn write(&self, id: u8, out: &mut BytesMut);
    fn wire_len(&self) -> usize;

    /// How many bytes it holds outside of itself.
    fn held(&self) -> usize {
        0
    }

    /// Copies what it holds outside of itself into memory of its own.
    fn detach(&mut self) {}
}

macro_rules! properties {
    ($($id:literal $field:ident: $type:ty, $places:expr, $doc:literal;)+) => {
        /// The properties of a packet or of a will. Those that a packet does not list are refused, in what is read and
        /// in what is to be sent.
        ///
        /// `Debug` shows the properties that there are. It masks Authentication Data and Correlation Data, counts User
        /// Properties, and shortens texts.
        ///
        /// Set those that are to be sent, and take the rest from the default:
        ///
        /// ```
        /// # use ferromqtt_proto::Properties;
        /// let properties = Properties {
        ///     message_expiry_interval: Some(60),
        ///     content_type: Some("application/json".parse()?),
        ///     ..Properties::default()
        /// };
        /// assert_eq!(
        ///     format!("{properties:?}"),
        ///     r#"Properties { message_expiry_interval: 60, content_type: "application/json" }"#
        /// );
        /// # Ok::<_, ferromqtt_proto::StringError>(())
        /// ```
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct Properties {
            $(#[doc = $doc] pub $field: Option<$type>,)+
            /// Subscription Identifiers (3.8.2.1.2, 3.3.2.3.8): one in SUBSCRIBE; in PUBLISH one for each subscription that matched.
            pub subscription_identifiers: SubscriptionIdentifiers,
            /// User Properties in their order, names may repeat (MQTT-3.3.2-18).
            pub user_properties: UserProperties,
        }

        impl fmt::Debug for Properties {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($field,)+ subscription_identifiers, user_properties } = self;
                let mut shown = f.debug_struct("Properties");
                $(if let Some(value) = $field {
                    shown.field(stringify!($field), &value.shown());
                })+
                if !subscription_identifiers.is_empty() {
                    shown.field("subscription_identifiers", subscription_identifiers);
                }
                if !user_properties.is_empty() {
                    shown.field("user_properties", &Count(user_properties.len()));
                }
                shown.finish()
            }
        }

        impl Properties {
            /// Whether there is none.
            pub fn is_empty(&self) -> bool {
                true $(&& self.$field.is_none())+
                    && self.subscription_identifiers.is_empty()
                    && self.user_properties.is_empty()
            }

            /// The first property that is there.
            fn first(&self) -> Option<&'static str> {
                $(if self.$field.is_some() {
                    return Some(stringify!($field));
                })+
                if !self.subscription_identifiers.is_empty() {
                    return Some(IDENTIFIERS);
                }
                (!self.user_properties.is_empty()).then_some("user_properties")
            }

            /// Whether every property may stand in `place`, with a value that the wire can carry.
            ///
            /// # Errors
            /// Names the first that may not.
            #[inline]
            pub(crate) fn check(&self, place: PropertyPlace) -> Result<(), PropertyError> {
                let fits = true $(&& (self.$field.is_none() || $places.allowed_in(place)))+;
                if fits {
                    return self.check_values(place);
                }
                Err(self.misplaced_in(place))
            }

            /// Names the first property that `place` does not have.
            #[cold]
            fn misplaced_in(&self, place: PropertyPlace) -> PropertyError {
                let misplaced = match () {
                    $(() if self.$field.is_some() && !$places.allowed_in(place) => stringify!($field),)+
                    () => IDENTIFIERS,
                };
                place.refuses(misplaced, PropertyProblem::NotInThisPacket)
            }

            /// Length of the properties that may stand in `place`, without their length field.
            ///
            /// It and `write_content` are inlined, so that no time is spent on those that never stand in a given place.
            #[inline(always)]
            pub(crate) fn content_len(&self, place: PropertyPlace) -> usize {
                let mut len = 0;
                $(if $places.allowed_in(place) && let Some(value) = &self.$field {
                    len += 1 + value.wire_len();
                })+
                for &identifier in &self.subscription_identifiers {
                    len += 1 + var_int_len(identifier as usize);
                }
                len + self.user_properties.encoded_len()
            }

            #[inline(always)]
            fn write_content(&self, place: PropertyPlace, out: &mut BytesMut) {
                $(if $places.allowed_in(place) && let Some(value) = &self.$field {
                    value.write($id, out);
                })+
                for &identifier in &self.subscription_identifiers {
                    out.put_u8(SUBSCRIPTION_IDENTIFIER);
                    put_var_int(out, identifier as usize);
                }
                if !self.user_properties.is_empty() {
                    out.put_slice(self.user_properties.encoded());
                }
            }

            /// How many bytes of memory the properties take once they are [detached](Self::detach): themselves, as a fixed
            /// overhead, and the texts and data that they hold. As long as they share a receive buffer, they keep that
            /// alive as a whole, which is not counted.
            pub fn memory_size(&self) -> usize {
                let mut size = size_of::<Self>()
                    + self.subscription_identifiers.held()
                    + self.user_properties.encoded_len();
                $(size += self.$field.as_ref().map_or(0, PropertyValue::held);)+
                size
            }

            /// Copies texts and data into memory of their own size. Those that came from the wire are slices of the
            /// receive buffer until then, and keep it alive as a whole: detach properties that you keep for long.
            pub fn detach(&mut self) {
                $(if let Some(value) = &mut self.$field {
                    value.detach();
                })+
                self.subscription_identifiers.shrink_to_fit();
                self.user_properties.detach();
            }

            fn read_one(&mut self, id: u8, place: PropertyPlace, body: &mut Reader<'_>) -> Result<(), DecodeError> {
                match id {
                    $($id => {
                        if !$places.allowed_in(place) {
                            return Err(DecodeError::protocol("packet holds a property that it must not have"));
                        }
                        if self.$field.replace(PropertyValue::read(body)?).is_some() {
                            return Err(DecodeError::protocol("packet holds a property twice"));
                        }
                    })+
                    SUBSCRIPTION_IDENTIFIER => self.read_subscription_identifier(place, body)?,
                    USER_PROPERTY => (self.user_properties)
                        .read(body, |rest| Ok(Repeated::count(rest)?.user_property_bytes))?,
                    _ => return Err(UNKNOWN),
                }
                Ok(())
            }
        }

        impl Repeated {
            fn count_one(&mut self, body: &mut Reader<'_>) -> Result<(), DecodeError> {
                let start = body.position();
                match body.u8()? {
                    $($id => {
                        <$type>::read(body)?;
                    })+
                    SUBSCRIPTION_IDENTIFIER => {
                        body.var_int()?;
                        self.identifiers += 1;
                    }
                    USER_PROPERTY => {
                        body.check_string()?;
                        body.check_string()?;
                        self.user_property_bytes += body.position() - start;
                    }
                    _ => return Err(UNKNOWN),
                }
                Ok(())
            }
        }
    };
}

const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
const IDENTIFIERS: &str = "subscription_identifiers";
const UNKNOWN: DecodeError = DecodeError::malformed("unknown property");

/// What comes of the properties that may repeat, in the rest of a block. It is counted when memory is needed for more than a
/// few, so that the memory is taken once and is no larger than that: growing step by step would take a multiple.
#[derive(Default)]
struct Repeated {
    identifiers: usize,
    user_property_bytes: usize,
}

impl Repeated {
    #[cold]
    fn count(mut rest: Reader<'_>) -> Result<Self, DecodeError> {
        let mut repeated = Self::default();
        while !rest.is_empty() {
            repeated.count_one(&mut rest)?;
        }
        Ok(repeated)
    }
}

properties! {
    0x01 payload_format_indicator: bool, PropertyPlace::MESSAGE, "Payload Format Indicator: the payload is UTF-8 text.";
    0x02 message_expiry_interval: u32, PropertyPlace::MESSAGE, "Message Expiry Interval, in seconds.";
    0x03 content_type: Utf8String, PropertyPlace::MESSAGE, "Content Type, by convention a MIME type.";
    0x08 response_topic: Utf8String, PropertyPlace::MESSAGE, "Response Topic: where an answer is to be published.";
    0x09 correlation_data: Bytes, PropertyPlace::MESSAGE, "Correlation Data, returned with the answer.";
    0x11 session_expiry_interval: u32, PropertyPlace::BOTH_CONNECT.or(PropertyPlace::DISCONNECT), "Session Expiry Interval, in seconds; 0xFFFFFFFF never expires.";
    0x12 assigned_client_identifier: Utf8String, PropertyPlace::CONNACK, "Assigned Client Identifier.";
    0x13 server_keep_alive: u16, PropertyPlace::CONNACK, "Server Keep Alive, in seconds.";
    0x15 authentication_method: Utf8String, PropertyPlace::BOTH_CONNECT.or(PropertyPlace::AUTH), "Authentication Method.";
    0x16 authentication_data: Bytes, PropertyPlace::BOTH_CONNECT.or(PropertyPlace::AUTH), "Authentication Data.";
    0x17 request_problem_information: bool, PropertyPlace::CONNECT, "Request Problem Information.";
    0x18 will_delay_interval: u32, PropertyPlace::WILL, "Will Delay Interval, in seconds.";
    0x19 request_response_information: bool, PropertyPlace::CONNECT, "Request Response Information.";
    0x1A response_information: Utf8String, PropertyPlace::CONNACK, "Response Information.";
    0x1C server_reference: Utf8String, PropertyPlace::CONNACK.or(PropertyPlace::DISCONNECT), "Server Reference: another server to use.";
    0x1F reason_string: Utf8String, PropertyPlace::ANSWERS, "Reason String, for humans.";
    0x21 receive_maximum: NonZeroU16, PropertyPlace::BOTH_CONNECT, "Receive Maximum.";
    0x22 topic_alias_maximum: u16, PropertyPlace::BOTH_CONNECT, "Topic Alias Maximum.";
    0x23 topic_alias: TopicAlias, PropertyPlace::PUBLISH, "Topic Alias.";
    0x24 maximum_qos: QoS, PropertyPlace::CONNACK, "Maximum QoS: 0 or 1.";
    0x25 retain_available: bool, PropertyPlace::CONNACK, "Retain Available.";
    0x27 maximum_packet_size: NonZeroU32, PropertyPlace::BOTH_CONNECT, "Maximum Packet Size, in bytes.";
    0x28 wildcard_subscription_available: bool, PropertyPlace::CONNACK, "Wildcard Subscription Available.";
    0x29 subscription_identifier_available: bool, PropertyPlace::CONNACK, "Subscription Identifier Available.";
    0x2A shared_subscription_available: bool, PropertyPlace::CONNACK, "Shared Subscription Available.";
}

impl Properties {
    /// The properties on the heap, or nothing when there are none.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (!self.is_empty()).then(|| Box::new(self))
    }

    /// Whether a version before 5.0, which has no properties, can send these.
    ///
    /// # Errors
    /// Names the first that there is.
    pub(crate) fn check_absent(&self, place: PropertyPlace) -> Result<(), PropertyError> {
        match self.first() {
            Some(property) => Err(place.refuses(property, PropertyProblem::NotInThisVersion)),
            None => Ok(()),
        }
    }

    /// Whether binary data fits behind its two-byte length, no Subscription Identifier is 0 or too large, and there are no
    /// more of these than `place` has (sections 1.5.6 and 3.8.2.1.2). All other types cannot hold a value out of range.
    fn check_values(&self, place: PropertyPlace) -> Result<(), PropertyError> {
        if let Err(problem) = check_binary(self.correlation_data.as_ref()) {
            return Err(place.refuses("correlation_data", problem));
        }
        if let Err(problem) = check_binary(self.authentication_data.as_ref()) {
            return Err(place.refuses("authentication_data", problem));
        }
        let identifiers = &self.subscription_identifiers;
        let problem = match place {
            PropertyPlace::SUBSCRIBE if identifiers.len() > 1 => PropertyProblem::Several,
            PropertyPlace::SUBSCRIBE | PropertyPlace::PUBLISH => {
                let (minimum, maximum) = (1, MAX_REMAINING_LENGTH as u32);
                if identifiers
                    .iter()
                    .all(|it| (minimum..=maximum).contains(it))
                {
                    return Ok(());
                }
                PropertyProblem::OutOfRange { minimum, maximum }
            }
            _ if identifiers.is_empty() => return Ok(()),
            _ => PropertyProblem::NotInThisPacket,
        };
        Err(place.refuses(IDENTIFIERS, problem))
    }

    /// Length of what [`Properties::encode_in_publish`] appends.
    pub(crate) fn len_in_publish(&self) -> usize {
        self.content_len(PropertyPlace::PUBLISH)
    }

    /// Appends the properties that may stand in PUBLISH, without a length field; the others were refused, or are left out.
    pub(crate) fn encode_in_publish(&self, out: &mut BytesMut) {
        self.write_content(PropertyPlace::PUBLISH, out);
    }

    /// Appends the length and the properties; a single zero byte when there are none (MQTT-2.2.2-1).
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_with_length(out, |out| self.write_content(PropertyPlace::ANY, out));
    }

    /// Reads the properties of a packet that always has them on 5.0 and never before.
    pub(crate) fn of(
        packet: PacketType,
        version: ProtocolVersion,
        body: &mut Reader<'_>,
    ) -> Result<Self, DecodeError> {
        if version.is_v5() {
            Self::decode(PropertyPlace::of(packet), body)
        } else {
            Ok(Self::default())
        }
    }

    /// Reads the length and the properties.
    pub(crate) fn decode(place: PropertyPlace, body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = body.var_int()?;
        let mut block = body.block(length)?;
        let mut properties = Self::default();
        properties.read_all(place, &mut block)?;
        Ok(properties)
    }

    fn read_all(
        &mut self,
        place: PropertyPlace,
        block: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        while !block.is_empty() {
            let id = block.u8()?;
            self.read_one(id, place, block)?;
        }
        Ok(())
    }

    fn read_subscription_identifier(
        &mut self,
        place: PropertyPlace,
        body: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        if place != PropertyPlace::SUBSCRIBE && place != PropertyPlace::PUBLISH {
            return Err(DecodeError::protocol(
                "packet holds a property that it must not have",
            ));
        }
        if place == PropertyPlace::SUBSCRIBE && !self.subscription_identifiers.is_empty() {
            return Err(DecodeError::protocol("packet holds a property twice"));
        }
        let identifier = body.var_int()?;
        if identifier == 0 {
            return Err(DecodeError::protocol("Subscription Identifier is 0"));
        }
        let identifiers = &mut self.subscription_identifiers;
        if identifiers.is_full() {
            identifiers.make_many(1 + Repeated::count(body.clone())?.identifiers);
        }
        identifiers.push(identifier as u32);
        Ok(())
    }
}

/// Reads properties that are mostly absent: `None` for an empty block.
pub(crate) fn read_boxed(
    place: PropertyPlace,
    body: &mut Reader<'_>,
) -> Result<Option<Box<Properties>>, DecodeError> {
    let length = body.var_int()?;
    let mut block = body.block(length)?;
    if block.is_empty() {
        return Ok(None);
    }
    let mut properties = Box::<Properties>::default();
    properties.read_all(place, &mut block)?;
    Ok(Some(properties))
}

impl PropertyValue for bool {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        flag(body.u8()?)
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_slice(&[id, u8::from(*self)]);
    }

    fn wire_len(&self) -> usize {
        1
    }
}

impl PropertyValue for u16 {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.u16()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        let [high, low] = self.to_be_bytes();
        out.put_slice(&[id, high, low]);
    }

    fn wire_len(&self) -> usize {
        2
    }
}

impl PropertyValue for u32 {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.u32()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        let [a, b, c, d] = self.to_be_bytes();
        out.put_slice(&[id, a, b, c, d]);
    }

    fn wire_len(&self) -> usize {
        4
    }
}

impl PropertyValue for NonZeroU16 {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(body.u16()?).ok_or_else(|| DecodeError::protocol("Receive Maximum is 0"))
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        2
    }
}

impl PropertyValue for NonZeroU32 {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(body.u32()?).ok_or_else(|| DecodeError::protocol("Maximum Packet Size is 0"))
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        4
    }
}

impl PropertyValue for QoS {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match body.u8()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce), // for CONNACK, the one packet that has it, to decide about
            _ => Err(DecodeError::protocol("Maximum QoS is neither 0 nor 1")),
        }
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_slice(&[id, self.value()]);
    }

    fn wire_len(&self) -> usize {
        1
    }
}

impl PropertyValue for Bytes {
    /// All binary properties are secret: Authentication Data, and Correlation Data, with which others could answer requests.
    fn shown(&self) -> impl fmt::Debug {
        Masked
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.binary()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_u8(id);
        put_binary(out, self);
    }

    fn wire_len(&self) -> usize {
        2 + self.remaining()
    }

    fn held(&self) -> usize {
        self.len()
    }

    fn detach(&mut self) {
        *self = Self::copy_from_slice(self);
    }
}

impl PropertyValue for Utf8String {
    fn shown(&self) -> impl fmt::Debug {
        PeerText(self.as_str())
    }

    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        body.string()
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        out.put_u8(id);
        put_binary(out, self.as_bytes());
    }

    fn wire_len(&self) -> usize {
        2 + self.as_bytes().len()
    }

    fn held(&self) -> usize {
        self.len()
    }

    fn detach(&mut self) {
        *self = self.detached();
    }
}

impl PropertyValue for TopicAlias {
    fn read(body: &mut Reader<'_>) -> Result<Self, DecodeError> {
        NonZeroU16::new(body.u16()?).map(Self).ok_or(DecodeError {
            reason: ReasonCode::TopicAliasInvalid,
            what: "Topic Alias is 0",
        })
    }

    fn write(&self, id: u8, out: &mut BytesMut) {
        self.0.get().write(id, out);
    }

    fn wire_len(&self) -> usize {
        2
    }
}
