"""Random worlds: clients and their programs, a broker, and faults, all drawn from one seed.

`world.play` plays one seed on one ground and returns what has come of it.

- `script.py` draws, `actor.py` is a client and what its program knows, `programs.py` the programs.
  `draw_queues.py` and `queues.py` are the same for clients with queues of their own.
- `grounds.py` are the brokers, `cable.py` is the network between a client and its broker.
- `noting.py` notes what programs do, and `ledger.py` holds it; `seen.py` (with `stream.py`) is what
  the network has shown. `checks.py` compares the two: the invariants.
- `doubles.py` are clients that are wrong, for the tests of the checks.
"""
