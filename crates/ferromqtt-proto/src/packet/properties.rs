//! Properties of MQTT 5.0 (section 2.2.2): one table says which there are, what they hold, and where they may stand.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use bytes::{BufMut, Bytes, BytesMut};

use super::property_place::PropertyPlace;
use super::property_value::{PropertyKind, PropertyValue, TopicAlias};
use super::subscription_identifiers::SubscriptionIdentifiers;
use super::user_properties::{USER_PROPERTY, UserProperties};
use super::{PacketType, ProtocolVersion};
use crate::codec::{BodyReader, MAX_REMAINING_LENGTH, put_var_int, put_with_length, var_int_len};
use crate::error::DecodeError;
use crate::packet::QoS;
use crate::property_error::{PropertyError, PropertyProblem};
use crate::shown::Count;
use crate::text::Utf8String;

/// Whether binary data fits behind its two-byte length (section 1.5.6).
pub(crate) fn check_binary(data: Option<&Bytes>) -> Result<(), PropertyProblem> {
    match data.map(Bytes::len) {
        Some(bytes) if bytes > usize::from(u16::MAX) => Err(PropertyProblem::TooLong { bytes }),
        _ => Ok(()),
    }
}

/// A row of the table of properties (section 2.2.2.2).
#[derive(Clone, Copy, Debug)]
pub struct PropertyRow {
    /// The identifier on the wire.
    pub identifier: u8,
    /// The field of [`Properties`].
    pub field: &'static str,
    /// What its values may be; where it repeats, each of them.
    pub kind: PropertyKind,
    place: PropertyPlace,
}

impl PropertyRow {
    /// The types of the packets that it may stand in, as numbers of the standard; 0 is the will.
    pub fn packet_types(&self) -> impl Iterator<Item = u8> {
        self.place.bits()
    }

    /// Whether a packet may hold more than one.
    #[must_use]
    pub fn repeats(&self) -> bool {
        [SUBSCRIPTION_IDENTIFIER, USER_PROPERTY].contains(&self.identifier)
    }
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

        /// All properties, in the order of their identifiers.
        #[must_use]
        pub fn property_table() -> Vec<PropertyRow> {
            let row = |identifier, field, kind, place| PropertyRow { identifier, field, kind, place };
            let identifiers = PropertyKind::Number(1, MAX_REMAINING_LENGTH as u32);
            let with_identifiers = PropertyPlace::PUBLISH.or(PropertyPlace::SUBSCRIBE);
            let mut rows = vec![
                $(row($id, stringify!($field), <$type>::KIND, $places),)+
                row(SUBSCRIPTION_IDENTIFIER, IDENTIFIERS, identifiers, with_identifiers),
                row(USER_PROPERTY, "user_properties", PropertyKind::Pair, PropertyPlace::EVERYWHERE),
            ];
            rows.sort_unstable_by_key(|row| row.identifier);
            rows
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

            fn read_one(&mut self, id: u8, place: PropertyPlace, body: &mut BodyReader<'_>) -> Result<(), DecodeError> {
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
            fn count_one(&mut self, body: &mut BodyReader<'_>) -> Result<(), DecodeError> {
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
    fn count(mut rest: BodyReader<'_>) -> Result<Self, DecodeError> {
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

    /// Length of what [`Properties::encode`] appends.
    pub(crate) fn encoded_len(&self) -> usize {
        let content = self.content_len(PropertyPlace::ANY);
        var_int_len(content) + content
    }

    /// Appends the length and the properties; a single zero byte when there are none (MQTT-2.2.2-1).
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_with_length(out, |out| self.write_content(PropertyPlace::ANY, out));
    }

    /// Reads the properties of a packet that always has them on 5.0 and never before.
    pub(crate) fn of(
        packet: PacketType,
        version: ProtocolVersion,
        body: &mut BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        if version.is_v5() {
            Self::decode(PropertyPlace::of(packet), body)
        } else {
            Ok(Self::default())
        }
    }

    /// Reads the length and the properties.
    pub(crate) fn decode(
        place: PropertyPlace,
        body: &mut BodyReader<'_>,
    ) -> Result<Self, DecodeError> {
        let length = body.var_int()?;
        let mut block = body.block(length)?;
        let mut properties = Self::default();
        properties.read_all(place, &mut block)?;
        Ok(properties)
    }

    fn read_all(
        &mut self,
        place: PropertyPlace,
        block: &mut BodyReader<'_>,
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
        body: &mut BodyReader<'_>,
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
    body: &mut BodyReader<'_>,
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
