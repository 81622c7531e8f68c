"""Received messages."""

from __future__ import annotations

from ferromqtt._native import Message, MessagesIterator

__all__ = ["Message", "MessagesIterator"]
