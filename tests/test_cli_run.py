"""`tokensal run`, its plan, and `show` of one of its examples, as their users meet them."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_cli import LIGHT, sentence

import tokensal
from tokensal.cli import progress
from tokensal.cli.progress import Pace, following
from tokensal.quantities import duration
from tokensal.render.json import loads

RECORDS = [
    {"prompt": "the 3rd of March, 1987", "id": "first"},
    {"prompt": "7 May 2001", "id": "second"},
    {"prompt": "June 3, 1999", "id": "third"},
]
BEFORE = ("--model", "dates", "--max-new-tokens", "8")


@pytest.fixture
def here(here, monkeypatch, tmp_path):
    """Run `tokensal …` in this process, in a folder with a file of prompts."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "dates.jsonl", RECORDS)
    return here


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


# The main job


def test_a_file_becomes_a_folder_and_a_summary(here):
    done = here("run", "dates.jsonl", "-o", "maps", "--methods", "lrp,occlusion", "--option", "occlusion.window=2",
                "--unit", "word", *BEFORE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "3 examples in 'maps': 3 explained."
    assert re.fullmatch(r"This process explained 3 of them in [\d.]+ s, [\d,.]+ a minute\.", lines[1])
    assert lines[2:] == ["See one:  tokensal show maps --id first", "See all:  tokensal summarize maps"]
    result = tokensal.load_run("maps")
    assert len(result) == 6
    assert {row["method"] for row in result.rows(["method"])} == {"lrp", "occlusion window=2"}
    assert here(*shlex.split(lines[2].partition("tokensal ")[2])).returncode == 0


def test_the_same_command_goes_on(here):
    arguments = ("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--part-size", 1, *BEFORE)
    assert here(*arguments, "--limit", 1).stdout.startswith("1 example in 'maps'")
    first = Path("maps/parts/part-00000000.parquet").stat().st_mtime_ns
    assert "explained 2 of them" in here(*arguments).stdout
    assert Path("maps/parts/part-00000000.parquet").stat().st_mtime_ns == first
    assert "All of them were finished before." in here(*arguments).stdout


def test_shards_divide_the_work(here):
    arguments = ("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--part-size", 1, *BEFORE)
    for number, count in ((0, 2), (1, 1)):
        done = here(*arguments, "--shard", f"{number}/2")
        assert f"explained {count} of them" in done.stdout
    assert len(tokensal.load_run("maps")) == 3


def test_only_the_first_of_several_processes_talks(here, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, talks in ((1, False), (0, True)):
        monkeypatch.setenv("RANK", str(rank))
        done = here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--part-size", 1, *BEFORE)
        assert (done.returncode, bool(done.stdout)) == (0, talks)
        assert talks or not done.stderr
    assert len(tokensal.load_run("maps")) == 3


def test_settings_come_from_a_file_and_flags_go_before_it(here):
    Path("run.toml").write_text('[run]\nmodel = "dates"\nmethods = ["gradient"]\noutput = "maps"\nlimit = 2\n')
    assert here("run", "dates.jsonl", "--config", "run.toml", "--limit", 1).stdout.startswith("1 example in 'maps'")
    assert here("run", "dates.jsonl", "--config", "run.toml").stdout.startswith("2 examples in 'maps'")


# What fails


def test_examples_that_fail_are_counted_by_their_reasons(here):
    write(Path("dates.jsonl"), [*RECORDS, {"prompt": "June 5, 1999", "id": "fourth"}])
    done = here("run", "dates.jsonl", "-o", "maps", "--methods", "lrp,gradient", "--targets", "text:03", *BEFORE)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "4 examples in 'maps': 2 explained, 2 failed."
    assert len([line for line in lines if line.startswith("  2 × Targets '03' are nowhere")]) == 2
    assert done.stderr == ""
    shown = here("show", "maps", "--id", "second")
    assert "Targets '03' are nowhere" in sentence(shown)


def test_a_run_of_which_nothing_succeeds_ends_in_a_sentence(here):
    done = here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--targets", "text:Oslo", *BEFORE)
    assert done.returncode == 2 and "3 failed" in done.stdout
    assert done.stderr.startswith("tokensal: Not one of 3 examples could be explained: Targets 'Oslo'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("dates.jsonl",), "There is no folder for the results: name one, such as '-o maps/'."),
        (("dates.jsonl", "-o", "m", "--methods", "lpr"), "did you mean 'lrp'"),
        (("dates.jsonl", "-o", "m", "--methods", "lrp,lrp"), "named twice"),
        (("dates.jsonl", "-o", "m", "--option", "ig.steps=3"), "add it, or drop them"),
        (("dates.jsonl", "-o", "m", "--shard", "2/2"), "shard is '2/2'"),
        (("dates.jsonl", "-o", "m", "--limit", "0"), "limit is 0"),
        (("dates.jsonl", "-o", "m", "--part-size", "0"), "part_size is 0"),
        (("dates.jsonl", "-o", "m", "--column", "promt=x"), "did you mean 'prompt'"),
        (("dates.jsonl", "-o", "m", "--unit", "wrod"), "did you mean 'word'"),
        (("dates.jsonl", "-o", "m", "--trials", "3"), "are of a plan"),
        (("dates.jsonl", "--plan", "--push-to-hub", "me/maps"), "nothing to upload"),
        (("missing.jsonl", "-o", "m"), "missing.jsonl"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_model_is_loaded(here, monkeypatch, arguments, expected):
    monkeypatch.setattr("tokensal.cli.running.load_model", lambda *_: pytest.fail("the model is loaded"))
    assert expected in sentence(here("run", *arguments))
    assert not Path("m").exists()


def test_options_are_refused_without_torch():
    light = LIGHT.format(arguments=["run", "x", "-o", "y", "--unit", "wrod"]).replace("not end.code", "end.code == 2")
    done = subprocess.run([sys.executable, "-c", light], check=True, capture_output=True, text=True)
    assert "did you mean 'word'" in done.stderr


def test_help_loads_neither_torch_nor_pyarrow():
    light = LIGHT.format(arguments=["run", "-h"]).replace('"torch"', '"torch", "pyarrow", "numpy"')
    subprocess.run([sys.executable, "-c", light], check=True, capture_output=True)


def test_a_run_of_other_settings_needs_another_folder(here):
    here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", *BEFORE)
    for arguments in ((), ("--plan",)):
        done = here("run", "dates.jsonl", "-o", "maps", "--methods", "lrp", *BEFORE, *arguments)
        assert "a run of other settings: its methods" in sentence(done)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path):
    write(tmp_path / "dates.jsonl", [{"prompt": f"June {day}, {year}"} for year in range(1950, 1999) for day in
                                     range(1, 29)])  # fmt: skip
    command = [sys.executable, "-m", "tokensal", "run", "dates.jsonl", "-o", "maps", "--part-size", "1", *BEFORE]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    finished = tmp_path / "maps" / "parts" / "part-00000002.parquet"
    for _ in range(1200):
        if finished.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.decode() == "tokensal: Interrupted: what is finished is in 'maps', and the same command goes on there.\n"
    assert len(tokensal.load_run(tmp_path / "maps")) >= 3


# Progress


def test_a_pace_counts_what_is_explained_now_alone():
    clock = [0.0]
    pace = Pace(clock=lambda: clock[0])
    clock[0] = 100.0
    pace.step(10, 30, [])  # finished before
    assert str(pace) == ""
    clock[0] = 130.0
    pace.step(11, 30, [None, "too long"])
    clock[0] = 160.0
    pace.step(12, 30, [None, None])
    assert (pace.explained, pace.failed, pace.seconds) == (2, 1, 60.0)
    assert str(pace) == "2.0 a minute · 9 min left · 1 failed"
    pace.step(13, 13, [None])  # how many there are is not known
    assert str(pace) == "3.0 a minute · 1 failed"


def test_a_log_has_a_line_a_minute(monkeypatch, capsys):
    clock = [0.0]
    with following(Pace(clock=lambda: clock[0])) as step:
        for done in range(1, 6):
            clock[0] += 30.0
            step(done, 10, [None])
    assert capsys.readouterr().err.splitlines() == [
        "2 of 10 examples · 2.0 a minute · 4 min left",
        "4 of 10 examples · 2.0 a minute · 3 min left",
    ]
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    with following(Pace(), quiet=True) as step:
        step(1, 10, [None])
    assert capsys.readouterr().err == ""


# Plans


def test_a_plan_tells_and_writes_nothing(here):
    done = here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--plan", "--processes", 2, "--trials", 3,
                "--part-size", 1, *BEFORE)  # fmt: skip
    assert done.returncode == 0, done.stderr
    examples, tokens, time_, processes, memory = done.stdout.splitlines()
    assert examples.split() == ["Examples", "3"]
    assert re.match(r"Tokens +\d+ in the prompts, \d+ in one, \d+ in the longest prompt$", tokens)
    assert re.match(r"Time +about .+ \(.+ to .+\), by 3 trials$", time_)
    assert re.match(r" +about .+ by 2 processes, if none slows another one down$", processes)
    assert re.match(r"Memory +[\d.]+ [GM]iB at most in a process, the model included$", memory)
    assert not Path("maps").exists()


def test_a_plan_knows_what_is_finished(here):
    arguments = ("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", "--part-size", 2, *BEFORE)
    here(*arguments, "--limit", 2)
    before = sorted(Path("maps").rglob("*"))
    assert here(*arguments, "--plan").stdout.startswith("Examples    3; 2 of them are finished, 1 remain")
    assert sorted(Path("maps").rglob("*")) == before
    here(*arguments)
    assert "nothing remains to be done" in here(*arguments, "--plan").stdout


def test_a_plan_of_which_every_trial_fails_ends_in_a_sentence(here):
    done = here("run", "dates.jsonl", "--plan", "--methods", "gradient", "--targets", "text:Oslo", *BEFORE)
    assert done.returncode == 2 and done.stderr.startswith("tokensal: Not one of 3 trials could be explained")


# An example of a run


def test_show_draws_one_example(here):
    here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient,occlusion", *BEFORE)
    both = here("show", "maps", "--id", "second", "-o", "both.json")
    assert both.returncode == 0 and "2001" in both.stdout
    assert loads(Path("both.json").read_text()).methods == ("gradient", "occlusion")
    done = here("render", "maps", "--id", "second", "--method", "occlusion", "-o", "one.json", "-o", "one.html")
    assert (done.returncode, done.stdout) == (0, "")
    one = loads(Path("one.json").read_text())
    assert one.provenance.method == "occlusion" and one.text.startswith("7 May 2001")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "by --id, such as 'first', 'second', 'third'"),
        (("--id", "secnd"), "such as 'second'"),
        (("--id", "first", "--method", "gradeint"), "did you mean 'gradient'"),
    ],
)
def test_an_unknown_example_or_method_is_one_sentence(here, arguments, expected):
    here("run", "dates.jsonl", "-o", "maps", "--methods", "gradient", *BEFORE)
    assert expected in sentence(here("show", "maps", *arguments))


def test_an_id_needs_a_folder(here):
    assert "--id and --method are for the folder of a run" in sentence(here("show", "dates.jsonl", "--id", "first"))
    Path("empty").mkdir()
    assert "is no folder of a run" in sentence(here("show", "empty", "--id", "first"))


def test_durations():
    assert [duration(each) for each in (0.04, 9.96, 59.6, 3599, 86_399)] == ["0.0 s", "10 s", "1 min", "1 h", "1 d"]
