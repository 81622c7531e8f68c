"""Exceptions and their texts (contract 1.7, 1.8)."""

import pytest

from ferromqtt import (
    MqttCodeError,
    MqttError,
    MqttReentrantError,
    MqttTimeoutError,
    PacketTypes,
    ReasonCode,
)
from ferromqtt._errors import call_error
from ferromqtt.exceptions import MqttConnectError

CODE_TEXTS = {
    -1: "Unknown error.",
    0: "No error.",
    1: "Out of memory.",
    2: "A network protocol error occurred when communicating with the broker.",
    3: "Invalid function arguments provided.",
    4: "The client is not currently connected.",
    5: "The connection was refused.",
    6: "Message not found (internal error).",
    7: "The connection was lost.",
    8: "A TLS error occurred.",
    9: "Payload too large.",
    10: "This feature is not supported.",
    11: "Authorisation failed.",
    12: "Access denied by ACL.",
    13: "Unknown error.",
    14: "Error defined by errno.",
    15: "Message queue full.",
    16: "Client or broker did not communicate in the keepalive interval.",
    99: "Unknown error.",
}
CONNECT_TEXTS = {
    1: "Incorrect protocol version",
    2: "Invalid client identifier",
    3: "Server unavailable",
    4: "Bad username or password",
    5: "Not authorised",
}


def test_hierarchy_1_7() -> None:
    assert issubclass(MqttError, Exception)
    assert issubclass(MqttCodeError, MqttError)
    assert issubclass(MqttConnectError, MqttCodeError)
    assert issubclass(MqttReentrantError, MqttError)
    assert not issubclass(MqttError, ValueError | OSError)


@pytest.mark.parametrize(("code", "text"), CODE_TEXTS.items())
def test_integer_code_1_7(code: int, text: str) -> None:
    error = MqttCodeError(code, "Could not publish message")
    assert error.rc == code
    assert str(error) == f"[code:{code}] {text}"
    assert error.args == ("Could not publish message",)


def test_reason_code_1_7() -> None:
    reason = ReasonCode(PacketTypes.PUBACK, "Quota exceeded")
    error = MqttCodeError(reason, "refused")
    assert error.rc is reason
    assert str(error) == "[code:151] Quota exceeded"
    assert error.args == ("refused",)


def test_foreign_reason_code_is_formatted_by_its_value_1_7() -> None:
    class Foreign:
        value = 135

        def __str__(self) -> str:
            return "Not authorized"

    assert str(MqttCodeError(Foreign())) == "[code:135] Not authorized"  # type: ignore[arg-type]


def test_no_code_1_7() -> None:
    error = MqttCodeError(None, "something happened")
    assert error.rc is None
    assert str(error) == "[code:None] something happened"


@pytest.mark.parametrize(("code", "text"), CONNECT_TEXTS.items())
def test_connect_error_with_a_return_code_1_7(code: int, text: str) -> None:
    error = MqttConnectError(code)
    assert error.rc == code
    assert error.args == (f"Connection refused: {text}",)
    assert str(error) == f"[code:{code}] {CODE_TEXTS[code]}"


def test_connect_error_with_an_unknown_return_code_1_7() -> None:
    assert MqttConnectError(77).args == ("Connection refused",)


def test_connect_error_with_a_reason_code_1_7() -> None:
    error = MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Bad user name or password"))
    assert error.args == ()
    assert str(error) == "[code:134] Bad user name or password"


def test_no_error_has_an_empty_repr() -> None:
    refused = MqttConnectError(ReasonCode(PacketTypes.CONNACK, "Not authorized"))
    assert repr(refused) == "MqttConnectError('[code:135] Not authorized')"
    text = "[code:4] The client is not currently connected."
    assert (
        repr(MqttCodeError(4, "Could not publish"))
        == f"MqttCodeError({text!r}, 'Could not publish')"
    )
    assert repr(MqttTimeoutError()) == "MqttTimeoutError('Operation timed out')"


def test_reason_code_value_name_and_comparison_1_8() -> None:
    """Contract 1.8: the surface users read from a Reason Code."""
    granted = ReasonCode(PacketTypes.SUBACK, "Granted QoS 1")
    refused = ReasonCode(PacketTypes.SUBACK, identifier=135)
    assert (granted.value, granted.getName(), str(granted)) == (1, "Granted QoS 1", "Granted QoS 1")
    assert granted.packetType == PacketTypes.SUBACK
    assert granted == 1
    assert granted == "Granted QoS 1"
    assert granted == ReasonCode(PacketTypes.SUBACK, identifier=1)
    assert granted != refused
    assert granted < refused
    assert granted < 2
    assert not granted.is_failure
    assert refused.is_failure
    assert refused.json() == "Not authorized"
    assert bytes(refused.pack()) == b"\x87"
    assert "Not authorized" in repr(refused)


def test_reason_code_name_depends_on_the_packet_type_1_8() -> None:
    assert str(ReasonCode(PacketTypes.CONNACK, identifier=0)) == "Success"
    assert str(ReasonCode(PacketTypes.SUBACK, identifier=0)) == "Granted QoS 0"
    assert str(ReasonCode(PacketTypes.DISCONNECT, identifier=0)) == "Normal disconnection"


def test_a_number_of_no_reason_code_is_named() -> None:
    with pytest.raises(KeyError, match="Reason Code 5 does not exist"):
        ReasonCode(PacketTypes.CONNACK, identifier=5)


def test_a_message_that_cannot_be_sent_again_is_not_said_to_be_unsent() -> None:
    text = "cannot be sent again: the server accepts QoS 1 at most; the message may have arrived"
    error = call_error("limit", 0x9B, text, "unknown", "publish")
    assert isinstance(error, MqttCodeError)
    assert error.delivery == "unknown"
    assert error.__notes__ == [f"C{text[1:]}"]
    unsent = call_error("limit", 0x9B, "the server accepts QoS 1 at most", "not_sent", "publish")
    assert unsent.__notes__ == ["Nothing was sent: the server accepts QoS 1 at most"]
