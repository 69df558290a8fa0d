"""`benchmarks/gpu.py` on the CPU: what it measures of a tiny model, what it counts, and what it concludes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import gpu
from run_on_device import DeviceJob, Record, measure

JOB = DeviceJob("tokensal", "tiny", [[12, 2]], [["lrp", "occlusion"]], "cpu", "float32", repeats=2)


def test_what_is_measured_of_tokensal():
    lrp, occlusion = measure(JOB)
    for record in (lrp, occlusion):
        assert not record.error
        assert (record.targets, record.sources, len(record.seconds)) == (2, 13, 2)
        assert min(record.seconds) > 0 and record.peak > 2**20 and record.rate > 1e6
        assert sum(record.waits.values()) > 0
    assert 0 < lrp.backward < 60 and lrp.backward_waits is not None
    assert occlusion.backward is None
    assert gpu.report([lrp, occlusion]).count("| tiny | 12 + 2 | tokensal |") == 2


def test_what_is_measured_of_captum():
    pytest.importorskip("captum")
    [record] = measure(replace(JOB, tool="captum", methods=[["input_x_gradient"]], targets=1, repeats=1))
    assert not record.error
    assert (record.targets, record.sources) == (1, 12)


def test_what_fails_is_recorded_and_the_others_go_on():
    failed, lrp = measure(replace(JOB, methods=[["no_such_method", "lrp"]], repeats=1))
    assert "no_such_method" in failed.error and not failed.seconds
    assert lrp.seconds
    assert failed.error in gpu.report([failed, lrp])


@pytest.mark.parametrize(("shape", "parameters"), [("llama-8b", 6.98e9), ("qwen-1.7b", 1.41e9)])
def test_the_shapes_have_the_published_numbers_of_parameters(shape, parameters):
    """Without the embeddings and the head."""
    assert gpu.costs_of(shape).body / 2 == pytest.approx(parameters, rel=0.005)


def record_of(tool: str, seconds: float, **options) -> Record:
    return Record(tool, "tiny", 12, 2, "lrp", rate=1e9, targets=2, sources=13, seconds=[seconds], **options)


@pytest.mark.parametrize(("seconds", "answer"), [(10.1, "met"), (9.9, "NOT met")])
def test_the_target_against_inseq(seconds, answer):
    records = [record_of("tokensal", 1.0), record_of("inseq", seconds)]
    [line] = gpu.verdicts(records)
    assert line.endswith(f": {answer}") and "× Inseq per target" in line


@pytest.mark.parametrize(("share", "waits", "answers"), [(0.51, 1, ["met", "met"]), (0.49, 2, ["NOT met", "NOT met"])])
def test_the_targets_of_the_backward(share, waits, answers):
    record = record_of("tokensal", 1.0, backward_waits=waits)
    record.backward = gpu.backward_operations(record) / record.rate / share
    assert [line.rpartition(": ")[2] for line in gpu.verdicts([record])] == answers


def test_a_backward_for_each_target_passes_each_source_once():
    record, cost = record_of("tokensal", 1.0), gpu.costs_of("tiny")
    assert gpu.backward_operations(record) == 2 * (13 * cost.body + 13 * 13 * cost.key)
    assert gpu.operations(record) > gpu.backward_operations(record)


def test_methods_of_many_forwards_are_left_out_of_long_texts():
    options = {"device": "cpu", "dtype": "float32", "repeats": 3, "peer_targets": 2, "long": False}
    asked = argparse.Namespace(sizes=[[24, 4], [4096, 128]], methods=["gradient", "occlusion"], **options)
    assert gpu.job("tokensal", "tiny", asked).methods == [["gradient", "occlusion"], ["gradient"]]
    captum = gpu.job("captum", "tiny", asked)  # has no plain gradient
    assert (captum.methods, captum.targets, captum.repeats) == ([["occlusion"], []], 2, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a graphics card")
def test_without_a_card_it_says_so():
    with pytest.raises(SystemExit, match="no graphics card here"):
        gpu.main([])


@pytest.mark.slow
def test_the_script(capsys, tmp_path):
    asked = "--device cpu --shapes tiny --sizes 8x2 --dtype float32 --repeats 1 --methods lrp --tools tokensal"
    gpu.main([*asked.split(), "--json", str(tmp_path / "gpu.json")])
    assert "| tiny | 8 + 2 | tokensal | lrp | 2 |" in capsys.readouterr().out
    assert '"backward"' in (tmp_path / "gpu.json").read_text()
