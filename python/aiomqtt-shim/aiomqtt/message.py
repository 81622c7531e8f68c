"""The message that a client receives."""

from ferromqtt.message import Message

__all__ = ["Message"]
