"""The command line as its users meet it: a process with arguments, two streams and an exit code."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from models import model, tokenizer

import tokensal
from tokensal import Attribution, Comparison
from tokensal.render.json import loads


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny-llama")
    model("Llama", dtype=torch.float32).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return str(path)


def run(*arguments, cwd=None, text=None, **environment):
    """Run `tokensal …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tokensal", *map(str, arguments)],
        cwd=cwd,
        input=text if text is not None else "",
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


def sentence(done):
    """The one sentence a failed run says, having checked that it is one, on stderr, with exit code 2."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("tokensal: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# Light things stay light


LIGHT = """
import runpy, sys
sys.argv = ["tokensal", *{arguments}]
try:
    runpy.run_module("tokensal")
except SystemExit as end:
    assert not end.code
assert not {{"torch", "transformers", "rich"}} & set(sys.modules)
"""


LIGHT_COMMANDS = ["--help", "-V", "attribute -h", "compare -h", "report -h", "show -h", "methods", "methods ig"]


@pytest.mark.parametrize("arguments", [command.split() for command in LIGHT_COMMANDS])
def test_help_and_methods_load_no_torch(arguments):
    subprocess.run([sys.executable, "-c", LIGHT.format(arguments=arguments)], check=True, capture_output=True)


def test_import_tokensal_loads_no_torch():
    subprocess.run([sys.executable, "-c", "import tokensal, sys; assert 'torch' not in sys.modules"], check=True)


def test_a_question_is_refused_without_torch():
    light = LIGHT.format(arguments=["attribute", "x", "--unit", "wrod"]).replace("not end.code", "end.code == 2")
    done = subprocess.run([sys.executable, "-c", light], check=True, capture_output=True, text=True)
    assert "did you mean 'word'" in done.stderr


def test_version_and_methods():
    assert run("--version").stdout == run("-V").stdout == f"tokensal {tokensal.__version__}\n"
    listed = run("methods").stdout
    assert "gradient" in listed and "input_x_gradient" in listed and "arXiv:1312.6034" in listed


# The main job


def test_prompt_to_heatmap_and_files(folder, tmp_path):
    done = run("attribute", "The cat", "--model", folder, "--max-new-tokens", 3, "-o", "r.html", "-o", "r.json",
               "--output", "r.txt", "--method", "input_x_gradient", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "The" in done.stdout and "cat" in done.stdout and "\x1b" not in done.stdout
    assert [line for line in done.stderr.splitlines() if line.startswith("Wrote")] == [
        "Wrote r.html", "Wrote r.json", "Wrote r.txt",
    ]  # fmt: skip
    assert (tmp_path / "r.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert len(Attribution.load(tmp_path / "r.json").targets) == 3


def test_quiet_says_nothing_on_stderr(folder):
    done = run("attribute", "The cat", "--model", folder, "--continuation", " sat", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sat" in done.stdout


@pytest.mark.parametrize("command", ["attribute", "compare"])
def test_matrix_adds_the_table(folder, here, command):
    plain = here(command, "The cat", "--model", folder, "--continuation", " sat on")
    table = here(command, "The cat", "--model", folder, "--continuation", " sat on", "--matrix")
    assert len(table.stdout) > len(plain.stdout)


@pytest.mark.parametrize("way", ["argument", "file", "stdin", "dash"])
def test_every_way_to_give_a_prompt(folder, tmp_path, way):
    (tmp_path / "prompt.txt").write_text("The cat\n")
    given = {"argument": ["The cat"], "file": ["--prompt-file", "prompt.txt"], "stdin": [], "dash": ["-"]}[way]
    done = run(
        "attribute", *given, "--model", folder, "--continuation", " sat", "-o", "r.json", cwd=tmp_path, text="The cat\n"
    )
    assert done.returncode == 0, done.stderr
    assert Attribution.load(tmp_path / "r.json").text == "The cat sat"


def test_chat_and_system(folder, tmp_path):
    done = run("attribute", "The cat?", "--model", folder, "--system", "Be brief.", "--continuation", "Yes",
               "-o", "r.json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = Attribution.load(tmp_path / "r.json").text
    assert text == "<|start|>system\nBe brief.<|end|><|start|>user\nThe cat?<|end|><|start|>assistant\nYes"


def test_defaults_then_configuration_then_flags(folder, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'[attribute]\nmodel = {folder!r}\nmethod = "gradient"\nscore = "logit"\nseed = 7\n'
        'options = { norm = "max" }\ngeneration = { do_sample = true }\noutput = ["r.json"]\n'
    )
    done = run("attribute", "The cat", "--config", "c.toml", "--score", "prob", "--max-new-tokens", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = Attribution.load(tmp_path / "r.json").provenance
    assert (made.method_repr, made.score, made.seed) == ("Gradient(norm='max')", "prob", 7)
    assert made.config["score"] == "prob" and made.config["options"] == {"norm": "max"}
    assert made.config["max_new_tokens"] == 2 and made.config["dtype"] is None


def test_options_of_the_method_and_of_generate(folder, tmp_path):
    done = run("attribute", "The cat", "--model", folder, "--method", "gradient", "--option", "norm=l1",
               "--generation", "do_sample=true",
               "--generation", "top_k=5", "--seed", 1, "--max-new-tokens", 2, "-o", "r.json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = Attribution.load(tmp_path / "r.json").provenance
    assert made.method_repr == "Gradient(norm='l1')"
    assert made.config["generation"] == {"do_sample": True, "top_k": 5}


def test_compare_to_heatmaps_and_files(folder, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = here("compare", "The cat", "--model", folder, "--max-new-tokens", 2, "--methods", "gradient,occlusion",
                "--option", "gradient.norm=l1", "--option", "occlusion.replacement=zero",
                "-o", "r.html", "-o", "r.json", "-o", "r.txt")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Rank agreement" in done.stdout and "1 gradient norm=l1" in done.stdout
    assert (tmp_path / "r.html").read_text().startswith("<!DOCTYPE html>")
    first, second = Comparison.load(tmp_path / "r.json").attributions
    assert second.provenance.method_repr.startswith("Occlusion(") and "'zero'" in second.provenance.method_repr
    assert first.provenance.config["options"] == {"gradient": {"norm": "l1"}, "occlusion": {"replacement": "zero"}}
    assert first.provenance.config["methods"] == ["gradient", "occlusion"]


def test_compare_with_defaults_then_configuration_then_flags(folder, here, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'[attribute]\nmethod = "gradient"\n[compare]\nmodel = {folder!r}\nmethods = ["gradient", "grad_cam"]\n'
        f'options = {{ gradient = {{ norm = "max" }} }}\noutput = ["{tmp_path}/r.json"]\n'
    )
    done = here(
        "compare", "The cat", "--config", tmp_path / "c.toml", "--score", "prob", "--continuation", " sat", "-q"
    )
    assert (done.returncode, done.stderr) == (0, "")
    made = [each.provenance for each in Comparison.load(tmp_path / "r.json").attributions]
    assert [(each.method, each.score) for each in made] == [("gradient", "prob"), ("grad_cam", "prob")]
    assert made[0].method_repr == "Gradient(norm='max')"


def test_every_output_is_tried_and_the_heatmap_shown_before_a_failure_is_told(folder, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    replace = os.replace

    def refuse(old, new):
        if str(new).startswith("full"):
            raise OSError(28, "No space left on device")
        replace(old, new)

    monkeypatch.setattr(os, "replace", refuse)
    done = here("attribute", "The cat", "--model", folder, "--continuation", " sat",
                "-o", "full1.json", "-o", "r.html", "-o", "full2.txt", "-o", "r.json")  # fmt: skip
    assert done.returncode == 2
    assert "cat" in done.stdout
    assert {*os.listdir(tmp_path)} == {"r.html", "r.json"}
    assert done.stderr.splitlines() == [
        "Wrote r.html",
        "Wrote r.json",
        "tokensal: Could not write output 'full1.json': No space left on device.",
        "tokensal: Could not write output 'full2.txt': No space left on device.",
    ]


def test_a_bug_in_one_format_costs_no_other(folder, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tokensal.render.html.draw_heatmap", lambda heatmap, drawing: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        here("attribute", "The cat", "--model", folder, "--continuation", " sat", "-o", "r.html", "-o", "r.json")
    assert os.listdir(tmp_path) == ["r.json"]


def test_an_error_of_the_system_is_not_told_as_one_of_standard_output(here, monkeypatch):
    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tokensal.adapters.load", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        here("attribute", "x")


def test_standard_output_holds_the_named_format_alone(folder, tmp_path):
    arguments = ["attribute", "The cat", "--model", folder, "--continuation", " sat", "-o", "-", "-q"]
    done = run(*arguments, "--format", "json", "-o", "r.txt", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert loads(done.stdout).text == "The cat sat"
    assert (tmp_path / "r.txt").read_text() == done.stdout  # the format is that of all outputs


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_saved_result_is_shown_and_converted(here, tmp_path, monkeypatch, way):
    golden = Path(__file__).parent / "golden" / "comparison.v3.json"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(golden.read_bytes())))
    done = here(
        "show", golden if way == "file" else "-", "--matrix", "-o", tmp_path / "r.txt", "-o", tmp_path / "r.json"
    )
    assert done.returncode == 0
    assert "Rank agreement" in done.stdout and "Rank agreement" in (tmp_path / "r.txt").read_text()
    assert (tmp_path / "r.json").read_bytes() == golden.read_bytes()
    assert "No such file" in sentence(here("show", tmp_path / "none.json"))
    assert "not JSON" in sentence(here("show", tmp_path / "r.txt"))
    assert "should be one of" in sentence(here("show", golden, "-o", tmp_path / "r.docx"))


def test_names_of_files_are_drawable(folder, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "\x1b[31m\x9b\u202e\udcff.txt"
    done = here("attribute", "The cat", "--model", folder, "--continuation", " sat", "-o", name)
    assert done.stderr == "Wrote ␛[31m⟨U+009B⟩⟨U+202E⟩⟨U+DCFF⟩.txt\n"
    (tmp_path / "link.txt").symlink_to("far.txt")
    done = here("attribute", "The cat", "--model", folder, "--continuation", " sat", "-o", "link.txt")
    assert done.stderr == f"Wrote {tmp_path / 'far.txt'}, to which link.txt points\n"


# Bad input: one sentence, exit code 2, no traceback


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x", "--methods", "gradeint,occlusion"], "did you mean 'gradient'"),
        (["x", "--methods", "gradient"], "at least two methods, but got 1"),
        (["x", "--methods", ""], "at least two methods, but got 0"),
        (["x", "--methods", "gradient, occlusion,gradient"], "Gradient(norm='l2') is given 2 times"),
        (["x", "--option", "grad_cam.layers=all"], "options for method 'grad_cam', but compared are only lrp"),
        (["x", "--option", "norm=l1"], "should be METHOD.KEY=VALUE"),
        (["x", "--option", "gradient.nrom=l1"], "did you mean 'norm'"),
        (["x", "-o", "r.docx"], "should be one of ."),
        ([""], "prompt is empty"),
    ],
)
def test_bad_comparison(arguments, expected, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tokensal.adapters.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert expected in sentence(here("compare", *arguments))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[compare]\nmethod = 'x'", "did you mean 'methods'"),
        ("[compare]\nmethods = 'gradient,occlusion'", "methods should be a list of strings"),
        ("[compare]\noptions = { gradient = 3 }", "options of 'gradient' should be a table"),
        ("[comapre]\nmethods = []", "did you mean 'compare'"),
    ],
)
def test_bad_configuration_of_a_comparison(toml, expected, here, tmp_path):
    (tmp_path / "c.toml").write_text(toml)
    assert expected in sentence(here("compare", "x", "--config", tmp_path / "c.toml"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["x", "--method", "gradeint"], "did you mean 'gradient'"),
        (["x", "--option", "gama=1"], "did you mean 'gamma'"),
        (["x", "--option", "rule=cq"], "cq"),
        (["x", "--option", "norm"], "KEY=VALUE"),
        (["x", "--method", "input_x_gradient", "--option", "norm=l1"], "takes no options"),
        (["x", "--score", "logprobs"], "did you mean 'logprob'"),
        (["x", "--dtype", "float23"], "did you mean 'float32'"),
        (["x", "--device", "cpu", "--device-map", "auto"], "either a device or a device_map"),
        (["x", "--explain", "anwser"], "did you mean 'answer'"),
        (["x", "--targets", "token", "--targets", "wrod"], "did you mean 'word'"),
        (["x", "--contrast", ""], "contrast is empty"),
        (["x", "--top-k-alternatives", "-1"], "from 0 to 1000"),
        (["x", "--max-new-tokens", "0"], "from 1 to"),
        (["x", "--continuation", "a", "--max-new-tokens", "3"], "nothing to generate"),
        (["x", "--generation", "top k=3"], "cannot be read as KEY=VALUE"),
        ([""], "prompt is empty"),
        (["x", "--continuation", ""], "continuation is empty"),
        (["x", "--prompt-file", "y"], "not both"),
        (["--prompt-file", "none.txt"], "Cannot read prompt file 'none.txt'"),
        (["x", "--system", "s", "--raw"], "--chat"),
        (["x", "--config", "none.toml"], "Cannot read configuration"),
        (["x", "-o", "r.docx"], "should be one of ."),
        (["x", "-o", "no/r.html"], "does not exist"),
        (["x", "--model", "./none"], "no folder './none'"),
        (["x", "-o", "-"], "name its format"),
        (["x", "--format", "json"], "add '-o FILE', or '-o -'"),
        (["x", "-o", "-", "--format", "docx"], "Unknown format 'docx'"),
        (["x", "-o", "/dev/full", "--format", "html"], "a device or a pipe"),
        (["--prompt-file", "."], "Is a directory"),
        (["--prompt-file", "/dev/zero"], "larger than 10 MB"),
        (["--prompt-file", "a" * 300], "File name too long"),
        (["a\udcff"], "not UTF-8"),
        (["x", "--continuation", "a\udcff"], "value of --continuation is not UTF-8"),
        (["x", "--option", "a\udcff=1"], "value of --option is not UTF-8"),
        (["x", "--method", "\x9b\u202e"], "'\\x9b\\u202e'"),
        (["x", "--option", "\x9b\u202e=3"], "⟨U+009B⟩⟨U+202E⟩"),
        (["x", "--method", "salient"], "did you mean 'gradient'"),
        (["x", "--model", "no/such"], "local model folder"),
    ],
)
def test_bad_input(arguments, expected, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "--model" not in arguments:
        monkeypatch.setattr("tokensal.adapters.load", lambda *_, **__: pytest.fail("a model was loaded"))
    assert expected in sentence(here("attribute", *arguments))


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[attribute]\nmetod = 'x'", "did you mean 'method'"),
        ("[atribute]\nmethod = 'x'", "did you mean 'attribute'"),
        ("[attribute]\nseed = 'one'", "seed should be a whole number, but is 'one' (str)"),
        ("[attribute]\nseed = true", "seed should be a whole number"),
        ("[attribute]\noutput = 'r.html'", "output should be a list"),
        ("[attribute]\noutput = [1]", "output should be a list of strings"),
        ("attribute = 3", "should be a table"),
        ("not toml", "not valid TOML"),
    ],
)
def test_bad_configuration(toml, expected, here, tmp_path):
    (tmp_path / "c.toml").write_text(toml)
    assert expected in sentence(here("attribute", "x", "--config", tmp_path / "c.toml"))


def test_a_prompt_longer_than_the_context(folder, here):
    assert "context holds 64" in sentence(here("attribute", "cat " * 80, "--model", folder))


def test_an_output_that_cannot_be_written_stops_before_the_work(here, tmp_path, monkeypatch):
    monkeypatch.setattr("tokensal.adapters.load", lambda *_, **__: pytest.fail("a model was loaded"))
    sentence(here("attribute", "x", "-o", tmp_path / "none" / "r.html"))


def test_an_unknown_flag_is_a_usage_error():
    done = run("attribute", "x", "--modle", "y")
    assert done.returncode == 2 and "--model" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_ctrl_c_ends_in_a_sentence():
    process = subprocess.Popen(
        [sys.executable, "-m", "tokensal", "attribute"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # whoever runs the tests may ignore the signal, as a shell does for what runs in the background
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(2)  # it is waiting for its prompt
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().startswith("tokensal: Interrupted") and err.count(b"\n") == 1


def test_a_reader_that_stops_reading_costs_no_file(folder, tmp_path):
    command = (
        f"{sys.executable} -m tokensal attribute 'The cat' --model {folder} --continuation ' sat' -q -o r.json | true"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
    assert Attribution.load(tmp_path / "r.json").text == "The cat sat"


def test_colour_on_a_terminal_and_none_where_it_is_not_wanted(folder):
    arguments = [
        sys.executable,
        "-m",
        "tokensal",
        "attribute",
        "The cat",
        "--model",
        folder,
        "--continuation",
        " sat",
        "-q",
    ]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    assert "\x1b[" in _on_a_terminal(arguments, environment)
    assert "38;2;" not in _on_a_terminal(arguments, {**environment, "NO_COLOR": "1"})


def _on_a_terminal(arguments, environment):
    master, slave = pty.openpty()
    process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    shown = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # the terminal closes with its last process
            break
        if not data:
            break
        shown += data
    process.wait(timeout=60)
    os.close(master)
    return shown.decode()


def test_the_resolved_configuration_is_plain_json(folder, tmp_path):
    run("attribute", "The cat", "--model", folder, "--continuation", " sat", "-o", "r.json", cwd=tmp_path)
    config = json.loads((tmp_path / "r.json").read_text())["provenance"]["config"]
    assert config["model"] == folder and config["output"] == ["r.json"] and config["continuation"] == " sat"


def test_every_question_can_be_asked(folder, here, tmp_path):
    out = tmp_path / "r.json"
    done = here("attribute", "The cat sat", "--model", folder, "--continuation", " on the mat", "--targets", "text:the",
                "--targets", "text:mat", "--unit", "word", "--top-k-alternatives", 2, "-o", out)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "considered" in done.stdout
    result = Attribution.load(out)
    assert len(result.targets) == 2 and [source.text for source in result.sources[:3]] == ["The", " cat", " sat"]
    assert result.provenance.question == {"targets": "text:the, text:mat", "unit": "word"}
    done = here("compare", "The cat", "--model", folder, "--chat", "--continuation", " on", "--contrast", "off it",
                "--sources", "user,contrast", "--methods", "gradient,occlusion")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "instead" in done.stdout
    done = here("attribute", "The cat sat", "--model", folder, "--explain", "prompt", "--score", "entropy")
    assert done.returncode == 0, done.stderr
    assert "entropy" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--unit", "wrod"], "did you mean 'word'"),
        (["--sources", "usr"], "did you mean 'user'"),
        (["--explain", "promt"], "did you mean 'prompt'"),
        (["--targets", "text:nowhere", "--continuation", " sat"], "nowhere in what is to be explained"),
        (["--unit", "marked", "--continuation", " sat"], "No passage is marked"),
    ],
)
def test_a_question_that_cannot_be_asked_is_one_sentence(folder, here, flags, message):
    done = here("attribute", "The cat", "--model", folder, *flags)
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.count("\n") == 1
