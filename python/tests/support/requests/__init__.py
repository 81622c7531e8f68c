"""Random worlds of requests: clients that ask, clients that answer, codecs, templates and faults.

- `plan.py` draws a world from its seed.
- `ground.py` is the broker: in memory and virtual time, or mosquitto.
- `asking.py` and `answering.py` are the programs of the two sides, `job.py` is what they exchange.
- `world.py` plays one world, and finds what is wrong with it.
- `doubles.py` are programs that are wrong, for the tests of the checks.
"""
