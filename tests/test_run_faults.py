"""Whatever happens to a run, the same call goes on: no example is lost, none is there twice, and no byte differs."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
import torch
from builders import tiny
from killed_runs import METHODS, explain
from runs_by_hand import ANSWERED, RECORDS, Recency, half_written, parts

import tokensal
from tokensal.errors import FormatError, InputError, ModelError, OutputError
from tokensal.runs.folder import ABANDONED
from tokensal.runs.parquet import read_rows

SCRIPT = Path(__file__).parent / "killed_runs.py"


@pytest.fixture(scope="module")
def dates():
    return tokensal.load("dates")


@pytest.fixture(scope="module")
def uninterrupted(dates, tmp_path_factory):
    """The parts of a run with sampled answers to which nothing happens."""
    explain(dates, folder := tmp_path_factory.mktemp("uninterrupted"))
    assert len(parts(folder)) == len(RECORDS) // 2 and not half_written(folder)
    return parts(folder)


def cheaply(model, folder, records=ANSWERED, **options):
    """A run that takes no time."""
    return tokensal.run(model, records, folder, **{"methods": [Recency()], "part_size": 2, **options})


# Killed


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "least"), [("randomly", 3), ("writing", 5), ("together", 0)])
def test_a_killed_run_goes_on(mode, least, uninterrupted, tmp_path):
    """Killed by the kernel, as for lack of memory: after random times, at each moment of writing; and two at once."""
    command = [sys.executable, str(SCRIPT), mode, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= least
    assert parts(tmp_path) == uninterrupted
    assert bool(half_written(tmp_path)) <= (mode != "together")
    assert len(tokensal.load_run(tmp_path)) == len(RECORDS) * len(METHODS)


def test_an_interrupted_run_goes_on(dates, uninterrupted, tmp_path):
    """Ctrl-C in the middle of the third part."""
    cheaply(dates, tmp_path / "expected")

    def interrupt(done, total):
        if done == 5:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored where a shell started us with &
    try:
        with pytest.raises(KeyboardInterrupt):
            cheaply(dates, tmp_path / "run", progress=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(parts(tmp_path / "run")) == 2 and not half_written(tmp_path / "run")
    cheaply(dates, tmp_path / "run")
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


def test_what_killed_processes_left_is_removed_when_it_is_old(dates, tmp_path):
    cheaply(dates, tmp_path)
    names = [
        f"parts/.part-00000000.parquet-{'0' * 16}.tmp",
        f"log/.part-00000000.json-{'a' * 16}.tmp",
        "parts/.mine.tmp",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
    cheaply(dates, tmp_path)
    assert all((tmp_path / name).exists() for name in names)  # somebody may be writing them
    for name in names:
        os.utime(tmp_path / name, times=(time.time() - ABANDONED - 60,) * 2)
    cheaply(dates, tmp_path)
    assert [name for name in names if (tmp_path / name).exists()] == ["parts/.mine.tmp"]
    assert len(tokensal.load_run(tmp_path)) == len(RECORDS)


# Full, damaged


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of so many bytes."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("to mount a small disk needs the rights of root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_once_there_is_room_the_run_goes_on(dates, tmp_path):
    cheaply(dates, tmp_path / "expected")
    with small_disk(tmp_path / "disk", "96k") as disk:
        with pytest.raises(OutputError, match=r"Cannot write part \d into .*: No space left on device\. All "):
            cheaply(dates, disk)
        assert 0 < len(parts(disk)) < len(RECORDS) // 2 and not half_written(disk)
        assert parts(disk).items() < parts(tmp_path / "expected").items()
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        cheaply(dates, disk)
        assert parts(disk) == parts(tmp_path / "expected")


def test_a_file_that_the_system_refuses_leaves_nothing_half_written(dates, tmp_path):
    cheaply(dates, tmp_path / "expected")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))  # run.json fits, a part does not
    try:
        with pytest.raises(OutputError, match=r"Cannot write part 0 into .*: File too large"):
            cheaply(dates, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not parts(tmp_path / "run") and not half_written(tmp_path / "run")
    cheaply(dates, tmp_path / "run")
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


@pytest.mark.parametrize(
    "size", [0, 3, -1, -8], ids=["empty", "three bytes", "without its last byte", "without its end"]
)
def test_a_part_that_was_cut_off_is_written_again(dates, size, tmp_path):
    cheaply(dates, tmp_path)
    expected = parts(tmp_path)
    damaged = tmp_path / "parts" / "part-00000002.parquet"
    damaged.write_bytes(damaged.read_bytes()[:size])
    with pytest.raises(FormatError, match=r"Cannot read '.*part-00000002.parquet' \(.*\): delete it, and run the same"):
        list(tokensal.load_run(tmp_path))
    cheaply(dates, tmp_path)
    assert parts(tmp_path) == expected


def test_a_byte_that_differs_is_told_or_changes_nothing(dates, tmp_path):
    """Each third byte of the scores, and of what describes their pages: never are other numbers read."""
    cheaply(dates, tmp_path, ANSWERED[:2])
    [damaged] = (tmp_path / "parts").iterdir()
    content, expected = damaged.read_bytes(), str(read_rows(damaged))
    metadata = pyarrow.parquet.read_metadata(damaged).row_group(0)
    columns = [metadata.column(number) for number in range(metadata.num_columns)]
    [scores] = [column for column in columns if column.path_in_schema.startswith("scores")]
    first = scores.dictionary_page_offset or scores.data_page_offset
    told = 0
    for place in range(first, first + scores.total_compressed_size, 3):
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert str(read_rows(damaged)) == expected
        except FormatError:
            told += 1
    assert told > scores.total_compressed_size // 6


# Other settings, other examples, other folders


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"methods": [Recency(step=2)]}, r"its methods\.recency is 'Recency\(step=1.0\)'|its methods\.recency"),
        ({"methods": ["occlusion"]}, r"its methods\.occlusion is None"),
        ({"part_size": 3}, "its part_size is 2, but now it is 3"),
        ({"targets": "output"}, r"its question\.targets is None \(NoneType\), but now it is 'output'"),
        ({"score": "logit"}, r"its question\.score is 'logprob', but now it is 'logit'"),
        ({"max_new_tokens": 3}, r"its generation\.max_new_tokens"),
    ],
)
def test_other_settings_are_refused(dates, options, sentence, tmp_path):
    cheaply(dates, tmp_path)
    expected = parts(tmp_path)
    with pytest.raises(InputError, match=f"holds a run of other settings: {sentence}.*Name another folder, or delete"):
        cheaply(dates, tmp_path, **options)
    assert parts(tmp_path) == expected


def test_another_model_is_refused(dates, tmp_path):
    records = [{"prompt": "the", "answer": "1"}]
    cheaply(dates, tmp_path, records)
    with pytest.raises(InputError, match=r"its model\.\w+ is .*, but now it is "):
        cheaply(tiny("Llama"), tmp_path, records)


def test_another_order_of_methods_is_refused(dates, tmp_path):
    cheaply(dates, tmp_path, ANSWERED[:1], methods=["occlusion", "input_x_gradient"])
    with pytest.raises(InputError, match=r"its order of methods is \['occlusion', 'input_x_gradient'\]"):
        cheaply(dates, tmp_path, ANSWERED[:1], methods=["input_x_gradient", "occlusion"])


def test_a_source_that_has_changed_is_refused(dates, tmp_path):
    cheaply(dates, tmp_path)
    changed = [*ANSWERED[:3], {**ANSWERED[3], "prompt": "another one"}, *ANSWERED[4:]]
    with pytest.raises(InputError, match=r"The source has changed: example 3 is 'date 7', .*another one.*July"):
        cheaply(dates, tmp_path, changed)
    with pytest.raises(InputError, match=r"The source has changed: example 0 is 'date 15'"):
        cheaply(dates, tmp_path, ANSWERED[::-1])


def test_a_folder_of_something_else_is_refused(dates, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds something else, such as 'thesis.tex': name a new or an empty folder"):
        cheaply(dates, tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(OutputError, match=r"Cannot use the folder '.*thesis.tex': (Not a directory|File exists)"):
        cheaply(dates, tmp_path / "thesis.tex")


# More and fewer examples, shares


def test_a_limit_can_grow_and_shrink(dates, tmp_path):
    cheaply(dates, tmp_path / "expected")
    for limit in (3, 7, 2, None):
        cheaply(dates, tmp_path / "run", limit=limit)
        if limit == 3:
            assert len(tokensal.load_run(tmp_path / "run")) == 3
        if limit == 2:
            assert len(tokensal.load_run(tmp_path / "run")) == 7  # nothing is taken away
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


def test_a_smaller_limit_takes_nothing_away_from_a_process_with_a_larger_one(dates, tmp_path):
    """Both begin the part at once; that of the smaller limit finishes it last."""
    cheaply(dates, tmp_path / "expected", ANSWERED[:2])

    def meanwhile(done, total):
        cheaply(dates, tmp_path / "run", ANSWERED[:2])

    cheaply(dates, tmp_path / "run", ANSWERED[:2], limit=1, progress=meanwhile)
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


def test_shares_make_up_the_run(dates, uninterrupted, tmp_path, monkeypatch):
    """Of three machines with two processes each, one does nothing twice, one is late, and the order is any."""
    cheaply(dates, tmp_path / "expected")
    for shard, rank in [("2/3", 1), ("0/3", 1), ("0/3", 0), ("1/3", 0), ("2/3", 0), ("0/3", 0), ("1/3", 1)]:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        cheaply(dates, tmp_path / "run", shard=shard)
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


def test_a_sampled_answer_depends_on_its_example_alone(dates, tmp_path):
    """Not on the order, nor on what else there is, nor on where the run was interrupted; but on the seed."""
    options = {"generation": {"do_sample": True, "temperature": 2.0}, "targets": "output"}

    def answers(name, records, **seed):
        run = cheaply(dates, tmp_path / name, records, **options, **seed)
        return {row["id"]: row["text"] for row in run.rows(["id", "text"])}

    forwards = answers("forwards", RECORDS[:6])
    assert answers("backwards", RECORDS[5::-1]) == forwards
    assert answers("one", [RECORDS[4]]) == {RECORDS[4]["id"]: forwards[RECORDS[4]["id"]]}
    answers("halves", RECORDS[:3])
    assert answers("halves", RECORDS[:6]) == forwards and parts(tmp_path / "halves") == parts(tmp_path / "forwards")
    assert answers("seed", RECORDS[:6], seed=1) != forwards
    same = answers("same", [{**RECORDS[0], "id": id} for id in "abcd"])
    assert len(set(same.values())) > 1


# Examples that fail


def test_a_bad_example_is_a_row_with_its_error(tmp_path):
    """Not foreseen, not finite, too long for the model: and all others are explained."""
    prompts = {"a": "fail", "c": "The cat", "long": "The cat sat. " * 30, "b": "nan", "d": "The dog"}
    records = [{"id": id, "prompt": prompt, "answer": " sat"} for id, prompt in prompts.items()]
    run = cheaply(tiny("GPT-2"), tmp_path, records, methods=[Recency(), tokensal.Occlusion()])
    errors = {(row["id"], row["method"]): row["error"] for row in run.rows(["id", "method", "error"])}
    assert errors["a", "recency"] == "ValueError: the text says so" and errors["a", "occlusion"] is None
    assert "not finite" in errors["b", "recency"] and errors["b", "occlusion"] is None
    assert errors["long", "recency"] == errors["long", "occlusion"] and "context holds" in errors["long", "recency"]
    assert all(errors[id, method] is None for id in "cd" for method in run.methods)
    assert run.failures() == {errors["long", "recency"]: 2, errors["a", "recency"]: 1, errors["b", "recency"]: 1}
    failed = next(run.rows())
    assert failed["text"] is None and json.loads(failed["record"]) == {"prompt": "fail", "answer": " sat"}


def test_a_run_without_any_scores_says_so_and_keeps_its_rows(dates, tmp_path):
    records = [{"prompt": "fail 1"}, {"prompt": "nan"}, {"prompt": "fail 2"}]
    for _ in range(2):
        with pytest.raises(InputError, match=r"No example could be explained. 2 of 3 rows in .* say: ValueError: the"):
            cheaply(dates, tmp_path, records)
    assert tokensal.load_run(tmp_path).failures().total() == 3
    cheaply(dates, tmp_path, records, shard="0/2")  # another process may have scores


def test_failed_examples_are_explained_once_more_on_demand(dates, tmp_path, monkeypatch):
    """As after a shortage of memory; and parts without errors are left alone."""
    cheaply(dates, tmp_path / "expected")
    explained = Recency.__call__

    def short(method, example, engine):
        if "May" in example.text:
            raise MemoryError
        return explained(method, example, engine)

    with monkeypatch.context() as patched:
        patched.setattr(Recency, "__call__", short)
        assert cheaply(dates, tmp_path / "run").failures() == {"MemoryError": 2}
    assert cheaply(dates, tmp_path / "run").failures() == {"MemoryError": 2}
    first = tmp_path / "run" / "parts" / "part-00000002.parquet"
    untouched = first.stat().st_mtime_ns
    assert not cheaply(dates, tmp_path / "run", retry=True).failures()
    assert parts(tmp_path / "run") == parts(tmp_path / "expected") and first.stat().st_mtime_ns == untouched


def test_a_device_that_fails_ends_the_run_before_it_writes(dates, tmp_path, monkeypatch):
    """Else all examples after it would be errors, and the same call would not explain them again."""
    cheaply(dates, tmp_path / "expected")
    explained = Recency.__call__

    def broken(method, example, engine):
        if "July" in example.text:
            try:
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")
            except torch.AcceleratorError as error:
                raise RuntimeError("the model failed") from error
        return explained(method, example, engine)

    with monkeypatch.context() as patched:
        patched.setattr(Recency, "__call__", broken)
        with pytest.raises(ModelError, match=r"The device failed at example 'date 7' .*run the same call again"):
            cheaply(dates, tmp_path / "run")
    assert list(parts(tmp_path / "run")) == ["part-00000000.parquet"]
    cheaply(dates, tmp_path / "run")
    assert parts(tmp_path / "run") == parts(tmp_path / "expected")


# Many


@pytest.mark.slow
def test_ten_thousand_examples_take_no_more_memory_than_a_thousand(dates, tmp_path):
    process, memory = psutil.Process(), {}

    def watch(done, total):
        if done in (2000, 10_000):
            memory[done] = process.memory_info().rss / 2**20

    records = [{"prompt": f"{number % 28 + 1} May 1999", "answer": "1999"} for number in range(10_000)]
    run = cheaply(dates, tmp_path, records, part_size=100, progress=watch)
    assert len(run) == 10_000 and len(parts(tmp_path)) == 100
    assert memory[10_000] - memory[2000] < 20  # MB
    before = process.memory_info().rss / 2**20
    assert sum(len(row["scores"]) for row in run.rows()) > 10_000
    assert process.memory_info().rss / 2**20 - before < 20


def test_nothing_is_explained_twice(dates, tmp_path, monkeypatch):
    cheaply(dates, tmp_path)
    shutil.copytree(tmp_path, copy := tmp_path.parent / "copy")
    (copy / "parts" / "part-00000001.parquet").unlink()
    texts = []
    explained = Recency.__call__

    def noted(method, example, engine):
        texts.append(example.text)
        return explained(method, example, engine)

    monkeypatch.setattr(Recency, "__call__", noted)
    cheaply(dates, copy)
    assert len(texts) == 2 and parts(copy) == parts(tmp_path)
