"""A forked run of pytest is one of a new process, as far as a test can tell."""

import os
import re
import signal
import sys
import threading
from pathlib import Path

import pytest

from support.forked_pytest import run_pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux alone")

OPTIONS = ("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function")


def said(result: pytest.RunResult) -> tuple[int, list[str], list[str]]:
    """Return the exit code and the output of a run, without what differs each time."""
    differs = re.compile(r"(?<=runpytest-)\d+|(?<=in )\d+\.\d+s")
    lines = [differs.sub("…", line) for line in result.outlines]
    return int(result.ret), lines, result.errlines


def test_a_run_says_what_one_of_a_new_interpreter_says(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_TEST", "1")
    pytester.makepyfile(
        helper="WHO = 'the folder of the run'",
        test_it="""
        import os, sys, threading, warnings
        import helper

        def test_where_it_is():
            assert helper.WHO == "the folder of the run"
            assert os.environ["OF_THIS_TEST"] == "1"
            assert threading.active_count() == 1
            assert sys.__stdin__.read() == ""
            warnings.warn("something")

        def test_what_it_says():
            print(os.getcwd(), sys.argv, sys.path, os.environ["PYTHONPATH"])
            assert not "it fails"
        """,
    )
    real = said(pytester.runpytest_subprocess(*OPTIONS, "--basetemp=base"))
    assert real[0] == 1
    assert "1 failed, 1 passed, 1 warning in …" in real[1][-1]
    assert said(run_pytest(pytester, *OPTIONS, "--basetemp=base")) == real
    wrong = said(pytester.runpytest_subprocess("--no-such-option"))
    assert wrong[0] == pytest.ExitCode.USAGE_ERROR
    assert said(run_pytest(pytester, "--no-such-option")) == wrong


def test_a_run_leaves_nothing_to_the_next(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_it="""
        import os, sys

        def test_it():
            assert not hasattr(sys, "left")
            assert "LEFT" not in os.environ
            sys.left = True
            os.environ["LEFT"] = "1"
            print("process", os.getpid())
        """
    )
    processes: set[str] = set()
    for _ in range(2):
        result = run_pytest(pytester, *OPTIONS, "-s")
        result.assert_outcomes(passed=1)
        processes.update(line for line in result.outlines if "process" in line)
    assert len(processes) == 2


def test_a_run_that_is_killed_is_told_by_its_exit_code(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import os\ndef test_it(): os.kill(os.getpid(), 9)")
    assert run_pytest(pytester, *OPTIONS).ret == -9
    pytester.makepyfile("def test_it(): ...")
    run_pytest(pytester, *OPTIONS).assert_outcomes(passed=1)


def test_a_run_ends_when_the_wait_for_it_is_interrupted(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    pytester.makepyfile(
        f"""
        def test_it():
            with open({str(pipe)!r}, "w", buffering=1) as file:
                print("it runs", file=file)
                while True:
                    print("still", file=file)
        """
    )
    main = threading.main_thread().ident
    assert main is not None
    lines = []

    def interrupt_once_it_runs() -> None:
        with pipe.open() as file:
            lines.append(file.readline())
            signal.pthread_kill(main, signal.SIGINT)
            lines.extend(file)  # up to the end of the process that writes

    reader = threading.Thread(target=interrupt_once_it_runs)
    reader.start()
    # A shell starts its background jobs with this signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_pytest(pytester, *OPTIONS)
    finally:
        signal.signal(signal.SIGINT, before)
    reader.join()
    assert lines[0] == "it runs\n"
    pytester.makepyfile("def test_it(): ...")
    run_pytest(pytester, *OPTIONS).assert_outcomes(passed=1)
