"""Publish and receive in plain threads, without asyncio.

It prints:

    cellar: 11.5
    outside: 28.4
    nothing more has come
"""

import threading

from ferromqtt.blocking import Client
from ferromqtt.testing import TestBroker


def measure(client: Client, place: str, value: float) -> None:
    client.publish(f"temperature/{place}", value, qos=1)  # returns when it is acknowledged


with Client(TestBroker(listen=False)) as client:  # in memory; yours is Client("broker.example")
    client.subscribe("temperature/#", qos=1)
    threads = [
        threading.Thread(target=measure, args=(client, "cellar", 11.5)),
        threading.Thread(target=measure, args=(client, "outside", 28.4)),
    ]
    for thread in threads:
        thread.start()
    messages = client.messages(timeout=10)
    both = [next(messages), next(messages)]
    for message in sorted(both):
        print(f"{message.topic.value.removeprefix('temperature/')}: {message.payload.decode()}")
    for message in client.messages(timeout=0.1):  # ends when nothing comes in that time
        print("unexpected:", message)
    print("nothing more has come")
    for thread in threads:
        thread.join()
