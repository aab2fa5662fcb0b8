"""Output while it is new: whole, in order, and held up by nobody."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.commands import Stream
from runtime.errors import ControlBusy
from runtime.live_runs import LiveRun, LiveRuns
from runtime.run_output import RunOutput
from runtime.run_slots import RunSlots

CHUNKS = st.lists(st.tuples(st.sampled_from(Stream), st.binary(max_size=40)), max_size=30)


@given(CHUNKS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_stream_comes_whole_and_in_order(
    tmp_path: Path, chunks: list[tuple[Stream, bytes]]
) -> None:
    output = RunOutput(tmp_path)
    for stream, chunk in chunks:
        output(stream, chunk)
    for stream in Stream:
        assert output.of(stream) == b"".join(chunk for each, chunk in chunks if each is stream)
    output.close()
    assert list(tmp_path.iterdir()) == []


def test_it_may_be_read_in_parts_from_any_place_that_was_told(tmp_path: Path) -> None:
    output = RunOutput(tmp_path)
    data = bytes(range(256)) * 20_000
    output(Stream.STDOUT, data)
    place, read = 0, b""
    while True:
        chunks, place = output.after(place)
        if not chunks:
            break
        assert all(len(chunk) <= 65_536 for _, chunk in chunks)
        read += b"".join(chunk for _, chunk in chunks)
    assert read == data
    output(Stream.STDERR, b"more")
    assert output.after(place)[0] == [(Stream.STDERR, b"more")]
    output.close()
    output(Stream.STDOUT, b"too late")
    assert output.after(0) == ([], 0)


def test_one_writes_and_others_read(tmp_path: Path) -> None:
    output, live = RunOutput(tmp_path), LiveRuns()
    run = LiveRun("r", "box", "who", output)
    live.add(run)
    found: list[bytes] = []

    def read() -> None:
        news, place, data = threading.Event(), 0, b""
        with live.watched("r", news.set):
            while True:
                news.clear()
                over = run.over.is_set()
                chunks, place = output.after(place)
                data += b"".join(chunk for _, chunk in chunks)
                if over and not chunks:
                    break
                if not chunks:
                    news.wait(10)
        found.append(data)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(200):
        output(Stream.STDOUT, b"%d\n" % number)
        live.tell("r")
    live.end(run)
    for reader in readers:
        reader.join(30)
    assert found == [b"".join(b"%d\n" % number for number in range(200))] * 3
    live.close()


def test_what_ended_is_forgotten_after_others(tmp_path: Path) -> None:
    live = LiveRuns(remembered=2)
    runs = [LiveRun(str(number), "box", "who", RunOutput(tmp_path)) for number in range(4)]
    for run in runs:
        live.add(run)
        live.end(run)
    assert [live.find(run.run) is None for run in runs] == [True, True, False, False]
    assert live.running() == []
    live.close()


def test_places_are_counted_on_each_and_on_all() -> None:
    slots = RunSlots(2, 3)
    slots.take("a")
    slots.take("a")
    with pytest.raises(ControlBusy, match="2 runs are under way on a"):
        slots.take("a")
    slots.take("b")
    with pytest.raises(ControlBusy, match="3 runs are under way on all"):
        slots.take("c")
    slots.give_back("a")
    slots.take("c")
