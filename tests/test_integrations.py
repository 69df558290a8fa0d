"""Engines that deal examples out: the same rows from all of them, also where a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest

from tokensal import InputXGradient, load, load_run, run
from tokensal.adapters import load as load_model
from tokensal.errors import InputError
from tokensal.integrations.ray import AttributeBatches, records_of
from tokensal.runs import explainer as explainers
from tokensal.runs.explainer import explainer
from tokensal.runs.parquet import SCHEMA
from tokensal.runs.rows import attribution_of

ROOT = Path(__file__).resolve().parent.parent
CLUSTERS = ROOT / "examples" / "clusters"
DAYS = range(4, 16)
RECORDS = [{"prompt": f"the {day}th of March, 1987", "id": f"day {day}"} for day in DAYS]
MARKER = "TOKENSAL_TEST_MARKER"  # the environment names a file by it; see dying.py
METHODS = ["input_x_gradient", "gradient"]


def told(rows):
    """What rows say, but for the place in a source, which a worker does not know; in the order of ids and methods."""
    rows = pyarrow.Table.from_pylist(rows, SCHEMA).drop_columns("number").to_pylist()
    return sorted(map(repr, rows))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What the rows of a run say of the records, which it explains one by one, as workers do."""
    return told(list(run(load("dates"), RECORDS, tmp_path_factory.mktemp("run"), methods=METHODS, part_size=1).rows()))


def stored(folder):
    """The rows of all Parquet files of a folder."""
    read = load_run(folder)
    assert read.methods == tuple(METHODS)
    assert len(list(read)) + read.failures().total() == len(list(read.rows()))
    return list(read.rows())


# The explainer


def test_it_gives_the_rows_of_a_run_in_any_process(expected):
    sent = pickle.loads(pickle.dumps(explainer("dates", methods=METHODS)))
    rows = [row for each in RECORDS for row in sent.rows(each)]
    assert told(rows) == expected
    assert json.loads(json.dumps(rows[0]["sources"])) == rows[0]["sources"]  # plain Python, with lists
    json.dumps(rows)
    assert attribution_of(rows[0]).sources[0].text


def test_it_loads_the_model_once_a_process_and_keeps_the_last_one(monkeypatch):
    loads = []
    monkeypatch.setattr(explainers, "_LOADED", {})
    monkeypatch.setattr(explainers, "load", lambda *names, **options: loads.append(names) or load_model(*names))
    first = explainer("dates", methods="gradient")
    assert loads == []
    first.rows(RECORDS[0])
    pickle.loads(pickle.dumps(first)).rows(RECORDS[1])
    assert loads == [("dates",)]
    explainer("dates", dtype="float64").rows(RECORDS[0])
    assert len(loads) == 2
    assert len(explainers._LOADED) == 1


def test_a_worker_that_no_launcher_numbers_has_an_accelerator_of_its_own(monkeypatch):
    ranks = []
    monkeypatch.setattr(explainers, "load", lambda *_, **__: ranks.append(os.environ.get("LOCAL_RANK")))
    for process, environment in [(3, None), (None, None), (3, "1")]:
        monkeypatch.setattr(explainers, "_LOADED", {})
        if environment is not None:
            monkeypatch.setenv("LOCAL_RANK", environment)
        explainer("dates").model(process=process)
        assert os.environ.get("LOCAL_RANK") == environment
    assert ranks == ["3", None, "1"]


def test_a_record_that_cannot_be_read_or_explained_is_a_row_with_the_error():
    unreadable, unexplained = (
        {"prompt": "", "id": "empty"},
        {"prompt": "1 March 1987", "contrast": "x", "id": "contrast"},
    )
    several = [explainer("dates", methods=METHODS).rows(each) for each in (unreadable, unexplained)]
    assert [[(row["id"], row["method"]) for row in rows] for rows in several] == [
        [("empty", name) for name in METHODS],
        [("contrast", name) for name in METHODS],
    ]
    assert "prompt" in several[0][0]["error"]
    pyarrow.Table.from_pylist([row for rows in several for row in rows], SCHEMA).validate(full=True)


def test_an_example_without_an_id_is_named_by_what_it_says():
    each = explainer("dates", methods="gradient")
    [first], [again], [other] = map(each.rows, ("1 May 1987", "1 May 1987", "2 May 1987"))
    assert (first["id"], first["number"]) == (again["id"], again["number"])
    assert first["id"] != other["id"]
    assert 0 <= first["number"] < 2**63
    [named] = each.rows({"prompt": "1 May 1987", "id": 7})
    assert named["id"] == "7"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"limit": 3}, "limit has no meaning here"),
        ({"shard": "0/2"}, "shard has no meaning here"),
        ({"methods": "gradeint"}, "did you mean 'gradient'"),
        ({"columns": {"prompt": "{question"}}, "without the other brace"),
        ({"dtpye": "float32"}, "did you mean 'dtype'"),
        ({"continuation": "x"}, "no continuation of its own"),
        ({"device": "cpu", "device_map": "auto"}, "either a device or a device_map"),
    ],
)
def test_options_are_refused_before_a_model_is_loaded(options, sentence):
    with pytest.raises(InputError, match=sentence):
        explainer("no such model", **options)


# Batches of Ray Data


def batches():
    table = pyarrow.Table.from_pylist([{**each, "day": day} for each, day in zip(RECORDS, DAYS, strict=True)])
    columns = table.to_pandas()
    return {
        "pyarrow": table,
        "pandas": columns,
        "numpy": {name: columns[name].to_numpy() for name in columns},
    }


@pytest.mark.parametrize("form", batches())
def test_a_batch_of_any_format_becomes_rows(form, expected):
    table = AttributeBatches("dates", methods=METHODS)(batches()[form])
    assert table.schema == SCHEMA
    assert table.column("id").to_pylist()[::2] == [each["id"] for each in RECORDS]
    assert told(table.to_pylist()) == expected


def test_columns_of_numpy_may_hold_chats():
    messages = [{"role": "user", "content": "1 May 1987"}]
    cell = np.empty(1, dtype=object)
    cell[0] = np.array(messages, dtype=object)
    [row] = explainer("dates", methods="gradient").rows(records_of({"messages": cell})[0])
    assert json.loads(row["record"]) == {"messages": messages}


def test_what_is_no_batch_is_refused():
    with pytest.raises(InputError, match="batch is 'text'"):
        records_of("text")
    assert records_of(pandas.DataFrame({"prompt": []})) == []


# Processes


def environment(**variables):
    """That of a process of the tests, with our packages, and the commands of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    packages = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(CLUSTERS), os.environ.get("PYTHONPATH", "")])
    own = {"RAY_USAGE_STATS_ENABLED": "0"}
    return {
        **os.environ,
        "PATH": path,
        "PYTHONPATH": packages,
        **own,
        **{key: str(each) for key, each in variables.items()},
    }


def process(*command, fails=False, **variables):
    """Run a command, and say what it printed; whether it fails is checked."""
    command = [sys.executable if word == "python" else str(word) for word in command]
    done = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=500)
    assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "parts").iterdir())}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The parts that one process writes."""
    folder = tmp_path_factory.mktemp("one")
    run(load("dates"), RECORDS, folder, methods=[InputXGradient], part_size=2)
    return contents(folder)


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records.json"
    path.write_text(json.dumps(RECORDS))
    return path


LAUNCH = (
    "python", "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--num_processes", "2",
    "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
)  # fmt: skip


@pytest.mark.slow
def test_accelerate_starts_killed_processes_again_and_the_bytes_are_those_of_one(tmp_path, records, parts):
    marker = tmp_path / "killed"
    process(*LAUNCH, "--max_restarts", "1", "-m", "dying", tmp_path / "out", records, **{MARKER: marker})
    assert marker.exists()
    assert contents(tmp_path / "out") == parts


@pytest.mark.slow
def test_what_a_killed_launch_finished_stays_and_the_same_command_goes_on(tmp_path, records, parts):
    command = (*LAUNCH, "-m", "dying", tmp_path / "out", records)
    variables = {MARKER: tmp_path / "killed"}
    assert "SIGKILL" in process(*command, fails=True, **variables)
    before = contents(tmp_path / "out")
    assert 0 < len(before) < len(parts)
    process(*command, **variables)
    assert contents(tmp_path / "out") == parts
    assert before.items() <= parts.items()


@pytest.mark.slow
def test_a_process_that_is_killed_holds_up_no_other(tmp_path, records, parts):
    command = [sys.executable, "-m", "dying", str(tmp_path / "out"), str(records)]
    variables = {MARKER: tmp_path / "killed", "WORLD_SIZE": 3}
    both = [subprocess.Popen(command, env=environment(**variables, RANK=rank)) for rank in range(3)]
    assert [each.wait(500) for each in both] == [0, -signal.SIGKILL, 0]
    numbers = [0, 1, 2, 3, 5]  # rank 1 has parts 1 and 4
    assert list(contents(tmp_path / "out")) == [f"part-{number:08}.parquet" for number in numbers]
    process(*command, **variables, RANK=1)
    assert contents(tmp_path / "out") == parts


def written(tmp_path):
    """The records as a file, and what a run of it is told to do, as `parts` are made."""
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    options = ("--model", "dates", "--methods", "input_x_gradient", "--part-size", 2)
    return tmp_path / "prompts.jsonl", tmp_path / "out", *options


@pytest.mark.slow
def test_the_script_of_accelerate(tmp_path, parts):
    process("bash", CLUSTERS / "accelerate.sh", *written(tmp_path), PROCESSES=2, OMP_NUM_THREADS=1)
    assert contents(tmp_path / "out") == parts


@pytest.mark.slow
def test_the_script_of_slurm(tmp_path, parts):
    """An array that begins at 1, of three jobs, of which the second one is late."""
    command, variables = ("bash", CLUSTERS / "slurm.sh", *written(tmp_path)), {"SLURM_ARRAY_TASK_COUNT": 3}
    for job in (1, 3):
        process(*command, **variables, SLURM_ARRAY_TASK_MIN=1, SLURM_ARRAY_TASK_ID=job)
    assert list(contents(tmp_path / "out")) == [f"part-{number:08}.parquet" for number in (0, 2, 3, 5)]
    process(*command, **variables, SLURM_ARRAY_TASK_MIN=1, SLURM_ARRAY_TASK_ID=2)
    assert contents(tmp_path / "out") == parts


# datatrove


@pytest.fixture
def prompts(tmp_path):
    folder = tmp_path / "prompts"
    folder.mkdir()
    for number in range(4):
        lines = map(json.dumps, RECORDS[3 * number : 3 * number + 3])
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_datatrove_reads_explains_and_writes(tmp_path, prompts, expected):
    (prompts / "0.jsonl").write_text((prompts / "0.jsonl").read_text() + '\n{"prompt": "x", "answer": "", "id": "bad"}')
    out = tmp_path / "out"
    options = ("--model", "dates", "--methods", *METHODS, "--tasks", 4, "--workers", 2)
    process("python", CLUSTERS / "datatrove_run.py", prompts, out, *options)
    rows = stored(out / "rows")
    assert told([row for row in rows if row["error"] is None]) == expected
    assert {row["id"] for row in rows if row["error"]} == {"bad"}
    statistics = json.loads((out / "log" / "stats.json").read_text())[1]["stats"]
    assert statistics["attributions"] == len(expected)
    assert statistics["errors"] == len(METHODS)


@pytest.mark.slow
def test_a_worker_of_datatrove_is_killed_and_the_same_command_goes_on(tmp_path, prompts, expected):
    """A pool of processes waits for a task that died with its worker: the whole is then stopped, and started again."""
    out, marker = tmp_path / "out", tmp_path / "killed"
    code = (
        "import dying_steps, datatrove_run as each; each.AttributeDocuments = dying_steps.DyingDocuments; each.main()"
    )
    options = ("--model", "dates", "--methods", *METHODS, "--tasks", "4", "--workers", "2")
    command = [sys.executable, "-c", code, str(prompts), str(out), *options]
    variables = environment(**{MARKER: marker})
    finished = out / "log" / "completions"
    with (tmp_path / "log").open("wb") as log:
        started = subprocess.Popen(command, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + 300
            while not (finished.is_dir() and len(list(finished.iterdir())) == 3 and marker.exists()):
                assert time.monotonic() < deadline and started.poll() is None, (tmp_path / "log").read_text()[-3000:]
                time.sleep(0.1)
        finally:  # a test that fails leaves no process behind, either
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    process(*command, **{MARKER: marker})
    assert len(list(finished.iterdir())) == 4
    assert told(stored(out / "rows")) == expected


@pytest.mark.slow  # not in the fast tier, which runs with the lowest versions, and so without datatrove
def test_a_pipeline_of_datatrove_without_an_engine(expected, tmp_path):
    from datatrove.data import Document

    from tokensal.integrations.datatrove import AttributeDocuments, AttributionWriter

    step = pickle.loads(pickle.dumps(AttributeDocuments("dates", methods=METHODS)))
    documents = [Document(each["prompt"], each["id"], metadata={"day": 1}) for each in RECORDS]
    explained = list(AttributionWriter(str(tmp_path)).run(step.run(iter(documents))))
    assert told([row for document in explained for row in document.metadata["attributions"]]) == expected
    assert told(stored(tmp_path)) == expected
    with pytest.raises(InputError, match="put AttributeDocuments before"):
        AttributionWriter(str(tmp_path)).write(Document("text", "id"))


@pytest.mark.slow
def test_metadata_of_a_document_are_fields_and_columns_may_name_the_prompt():
    from datatrove.data import Document

    from tokensal.integrations.datatrove import AttributeDocuments

    document = Document("1 May 1987", "a", metadata={"answer": "1987-05-02"})
    [explained] = AttributeDocuments("dates", methods="gradient").run(iter([document]))
    [row] = explained.metadata["attributions"]
    assert json.loads(row["record"]) == {"prompt": "1 May 1987", "answer": "1987-05-02"}


# Ray


@pytest.mark.slow
def test_ray_reads_explains_and_writes(tmp_path, prompts, expected):
    options = ("--model", "dates", "--methods", *METHODS, "--workers", 2, "--batch", 3)
    process("python", CLUSTERS / "ray_run.py", prompts, tmp_path / "out", *options)
    assert told(stored(tmp_path / "out")) == expected


@pytest.mark.slow
def test_ray_starts_a_killed_worker_again(tmp_path, prompts, expected):
    code = "import dying_steps, ray_run as each; each.AttributeBatches = dying_steps.DyingBatches; each.main()"
    options = ("--model", "dates", "--methods", *METHODS, "--workers", 2, "--batch", 2)
    process("python", "-c", code, prompts, tmp_path / "out", *options, **{MARKER: tmp_path / "killed"})
    assert (tmp_path / "killed").exists()
    assert told(stored(tmp_path / "out")) == expected
