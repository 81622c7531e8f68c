"""The allocator of the native module, as docs/design/0006-allocator.md has it."""

from ferromqtt._native import purge_delay


def test_free_memory_goes_back_to_the_system_after_a_millisecond() -> None:
    """Whatever number that option has in the version of mimalloc that is linked."""
    assert purge_delay() == 1
