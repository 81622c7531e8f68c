"""Which interpreters load the native module; the others get an ImportError that says why."""

import textwrap

import pytest

from support import program

# Subinterpreters.

USE = """
import sys
sys.path[:] = PATH
try:
    from ferromqtt import Client
    from ferromqtt.testing import TestBroker
except ImportError as error:
    assert "subinterpreter" in str(error), error
    assert "main interpreter" in str(error), error
    print("refused", flush=True)
else:
    import asyncio  # not above: one that a thread has made stands still at its end then, without us

    async def main():
        async with TestBroker() as broker, Client(broker.host, broker.port) as client:
            await client.subscribe("t")
            await client.publish("t", "x")
            print((await anext(client.messages)).payload, flush=True)
    asyncio.run(main())
"""
"""Uses a client, or tells that the import was refused for the right reason."""

WAYS = {
    "isolated": """
        import _xxsubinterpreters as interpreters
        interpreters.run_string(interpreters.create(isolated=True), use)
    """,
    "legacy": """
        import _xxsubinterpreters as interpreters
        interpreters.run_string(interpreters.create(isolated=False), use)
    """,
    "by a thread": """
        import threading
        import _xxsubinterpreters as interpreters
        interpreter = interpreters.create(isolated=False)
        thread = threading.Thread(target=interpreters.run_string, args=(interpreter, use))
        thread.start()
        thread.join()
    """,
    "by the C API": """
        import _testcapi
        assert _testcapi.run_in_subinterp(use) == 0
    """,
}
"""How CPython 3.11 makes one. Later versions name the first module otherwise."""


@pytest.mark.parametrize("order", ["subinterpreter first", "main interpreter first"])
@pytest.mark.parametrize("way", WAYS)
def test_a_subinterpreter_is_refused_and_the_main_interpreter_goes_on(way: str, order: str) -> None:
    module = "_testcapi" if "_testcapi" in WAYS[way] else "_xxsubinterpreters"
    pytest.importorskip(module, reason=f"this build of CPython has no {module}")
    begin = f"import sys\nuse = {USE!r}.replace('PATH', repr(sys.path))\n"
    there, here = textwrap.dedent(WAYS[way]), "exec(use)\n"
    if order == "subinterpreter first":
        assert program.run(begin + there + here) == "refused\nb'x'\n"
    else:
        assert program.run(begin + here + there + here) == "b'x'\nrefused\nb'x'\n"
