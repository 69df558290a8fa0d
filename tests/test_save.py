"""JSON that reads back exactly, and files that are never half written."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields, replace
from datetime import date
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from models import adapter

from tokensal import Attribution, Comparison, attribute
from tokensal.drawing import FORMATS, Drawing
from tokensal.errors import FormatError, OutputError
from tokensal.render import check_output, stored
from tokensal.render.json import dumps, loads
from tokensal.render.layout import lay_out, lay_out_comparison
from tokensal.render.renderers import RENDERERS, STORES, renderer
from tokensal.results.attribution import Alternative, Provenance
from tokensal.types import Role, Unit

GOLDEN = Path(__file__).parent / "golden"  # files of version 2 are by tokensal 0.1.0, their numbers rounded
VERSION_2 = sorted(path.name for path in GOLDEN.glob("*.v2.json"))


def golden(name):
    return (GOLDEN / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def result():
    return attribute(
        adapter("Llama", dtype=torch.float32),
        "a🙂 cat",
        continuation=" sat\n",
        method="input_x_gradient",
        config={"model": None, "nested": {"list": [1, "two"]}},
    )


def test_json_reads_back_exactly(result, tmp_path):
    result.save(tmp_path / "r.json")
    back = Attribution.load(tmp_path / "r.json")
    assert torch.equal(back.scores.nan_to_num(7), result.scores.nan_to_num(7))
    assert torch.equal(back.visible, result.visible)
    assert torch.equal(back.values, result.values)
    for name in ("text", "sources", "targets", "signed", "sink", "encoder", "alternatives", "provenance"):
        assert getattr(back, name) == getattr(result, name)
    assert dumps(back) == dumps(result)


def test_options_that_differ_from_the_defaults_are_kept(result, tmp_path):
    provenance = replace(result.provenance, options={"norm": "l1"})
    replace(result, provenance=provenance).save(tmp_path / "r.json")
    assert Attribution.load(tmp_path / "r.json").provenance == provenance


def test_json_is_plain_for_other_languages(result):
    data = json.loads(dumps(result), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["schema"] == "tokensal/attribution" and data["version"] == 3
    assert data["scores"][0][-1] is None and data["visible"][0][-1] is False
    keys = {"ids", "text", "start", "stop", "role", "special", "against"}
    assert set(data["sources"][0]) == {*keys, "in_prompt"} and set(data["targets"][0]) == keys
    assert data["provenance"]["method_repr"] == "InputXGradient()" and "options" not in data["provenance"]
    assert data["provenance"]["versions"]["torch"] == torch.__version__
    assert "".join(data["text"][t["start"] : t["stop"]] for t in data["sources"] if t["text"]) in data["text"]


def rounded(table):
    """The numbers as they are in a golden file of version 2; None for NaN."""
    return [rounded(row) if isinstance(row, list) else None if row != row else float(f"{row:.3g}") for row in table]


def assert_holds(attribution, data):
    """The attribution says in every field what the document of version 2 says."""
    for name in ("text", "signed", "sink", "encoder"):
        assert getattr(attribution, name) == data[name]
    for name in ("sources", "targets"):
        later = {"in_prompt": None, "message": None, "fillers": None}  # fields that files of version 2 have not
        assert [asdict(unit) for unit in getattr(attribution, name)] == [
            {**unit, **later, "ids": tuple(unit["ids"])} for unit in data[name]
        ]
    for name in ("scores", "values"):
        assert getattr(attribution, name).dtype == torch.float32
        assert rounded(getattr(attribution, name).tolist()) == data[name]
    assert attribution.visible.tolist() == data["visible"]
    assert [[asdict(option) for option in row] for row in attribution.alternatives] == data["alternatives"]
    assert asdict(attribution.provenance) == {
        **data["provenance"],
        "options": {},
        "credit": "direct",
        "quantity": "",
        "request": {},
    }


@pytest.mark.parametrize("name", VERSION_2)
def test_files_of_version_2_say_what_they_said(name):
    data = json.loads(golden(name))
    assert data["version"] == 2
    kind = Comparison if name.startswith("comparison") else Attribution
    stored = kind.load(GOLDEN / name)
    attributions = stored.attributions if kind is Comparison else [stored]
    for attribution, each in zip(attributions, data.get("attributions", [data]), strict=True):
        assert_holds(attribution, each)
        if each["certificate"] is None:
            assert attribution.diagnostics == {}
    written = json.loads(dumps(stored))
    assert written["version"] == 3 and written["schema"] == data["schema"]


def test_the_golden_files_are_of_every_kind():
    assert [name.removesuffix(".v2.json") for name in VERSION_2] == [
        "alternatives", "comparison", "contrast", "encoder_decoder", "input_x_gradient", "integrated_gradients",
    ]  # fmt: skip
    contrast, alternatives, dates = (
        Attribution.load(GOLDEN / f"{name}.v2.json") for name in ("contrast", "alternatives", "encoder_decoder")
    )
    assert contrast.targets[0].against == " ran" and contrast.sources[3].role is Role.CONTRAST
    assert alternatives.alternatives == ((Alternative(17, "/", 0.0989), Alternative(292, "", 0.0834)),)
    assert dates.encoder == 4 and dates.sources[3].special and dates.scores.shape == (6, 10)


def test_a_certificate_of_version_2_becomes_diagnostics():
    stored = Attribution.load(GOLDEN / "integrated_gradients.v2.json").diagnostics
    assert list(stored) == ["total", "convergence_delta", "gradients"]
    assert rounded(stored["total"].values.tolist()) == [-0.872, -1.19] and stored["total"].allowed is None
    delta, gradients = stored["convergence_delta"], stored["gradients"]
    assert rounded(delta.values.tolist()) == [0.0243, -0.0212] and delta.reached.all()
    assert rounded(delta.allowed.tolist()) == [0.0436, 0.0595]
    assert gradients.values.tolist() == [31, 33] and gradients.values.dtype == torch.int64
    assert gradients.allowed is None


@pytest.mark.parametrize("name", ["diagnostics.v3.json", "comparison.v3.json"])
def test_files_of_version_3_are_reproduced_byte_for_byte(name, tmp_path):
    kind = Comparison if name.startswith("comparison") else Attribution
    kind.load(GOLDEN / name).save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (GOLDEN / name).read_bytes()


def test_diagnostics_read_back_with_their_shapes_and_types():
    stored = Attribution.load(GOLDEN / "diagnostics.v3.json").diagnostics
    assert list(stored) == ["total", "convergence_delta", "gradients", "constants", "standard_error", "fit"]
    assert stored["standard_error"].values.shape == (2, 3) and stored["standard_error"].values.isnan().sum() == 1
    assert stored["gradients"].values.dtype == torch.int64 and stored["fit"].values.dtype == torch.float32


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: "[]", "schema"),
        (lambda text: text.replace('"version": 3', '"version": 99', 1), "version 99.*reads versions 2 and 3"),
        (lambda text: text.replace('"sources"', '"sauces"', 1), "damaged.*sources"),
        (lambda text: text.replace('"role": "prompt"', '"role": "extra"', 1), "damaged.*extra"),
        (lambda text: text.replace("[[true", "[[false", 1), "damaged.*visible"),
        (lambda text: text.replace('"scores": [[', '"scores": [[1.0, ', 1), "damaged.*table"),
    ],
)
def test_a_damaged_file_is_said_to_be_so(result, tmp_path, damage, sentence):
    path = tmp_path / "r.json"
    path.write_text(damage(dumps(result)), encoding="utf-8")
    with pytest.raises(FormatError, match=sentence) as error:
        Attribution.load(path)
    assert "r.json" in str(error.value)


def with_value(*path, value):
    """The golden file of version 3 with another value at one place."""
    data = node = json.loads(golden("diagnostics.v3.json"))
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["text"], 3),
        (["signed"], 1),
        (["signed"], None),
        (["sink"], True),
        (["sink"], -1),
        (["sink"], 3),
        (["sink"], 0.0),
        (["encoder"], -1),
        (["encoder"], 4),
        (["encoder"], "0"),
        (["scores", 0, 0], True),
        (["scores", 0, 0], "1"),
        (["scores", 0, 0], 1e300),
        (["scores", 0, 0], 10**400),
        (["visible", 0, 0], 1),
        (["values", 0], "1.0"),
        (["values", 0], False),
        (["sources"], []),
        (["sources", 0], None),
        (["sources", 0, "ids", 0], -1),
        (["sources", 0, "ids", 0], 2**63),
        (["sources", 0, "ids", 0], 1.0),
        (["sources", 0, "ids"], 1),
        (["sources", 0, "start"], -1),
        (["sources", 0, "start"], 14),
        (["sources", 0, "stop"], 10**6),
        (["sources", 0, "special"], 0),
        (["sources", 0, "role"], "prompts"),
        (["sources", 0, "extra"], 1),
        (["targets", 0, "text"], None),
        (["alternatives"], [[]]),
        (["alternatives"], {}),
        (["provenance", "seed"], 1.5),
        (["provenance", "seconds"], -1),
        (["provenance", "model"], None),
        (["provenance", "config"], []),
        (["provenance", "versions"], {"torch": 2}),
        (["provenance", "extra"], 1),
        (["diagnostics", 0, "name"], "convergence_delta"),
        (["diagnostics", 0, "values", 0], True),
        (["diagnostics"], None),
        (["extra"], 1),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_values_of_another_type_or_out_of_range_are_refused(path, value):
    with pytest.raises(FormatError, match=r"it is damaged .*; save it again") as error:
        loads(with_value(*path, value=value))
    assert len(str(error.value)) < 400 and "\n" not in error.value.args[0]


@pytest.mark.parametrize("name", ["diagnostics.v3.json", "integrated_gradients.v2.json"])
def test_no_key_may_be_missing(name):
    data = json.loads(golden(name))
    for part in (data, data["sources"][0], data["provenance"], (data.get("diagnostics") or [{}])[0]):
        for key in list(part):
            value = part.pop(key)
            with pytest.raises(FormatError):
                loads(json.dumps(data))
            part[key] = value
    loads(json.dumps(data))


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("", "not JSON"),
        ("null", "schema is not"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not JSON"),
        ('{"a": NaN}', "NaN is no finite number"),
        ('{"a": -Infinity}', "-Infinity is no finite number"),
        ('{"a": 1e999}', "1e999 is no finite number"),
        ('{"schema": 1, "schema": 2}', "a key twice"),
        ("\ufeff{}", "byte order mark|BOM"),
        ("{}".encode("utf-16"), "not JSON"),
        (b"\xff", "not JSON"),
        ('{"schema": ["tokensal/attribution"]}', "schema is not"),
        ('{"schema": "tokensal/attribution", "version": true}', "version True"),
        ('{"schema": "tokensal/attribution", "version": 3.0}', "version 3.0"),
        ('{"schema": "tokensal/comparison", "version": 3, "attributions": [1]}', r"attributions\.0"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_such_document_is_refused(document, sentence):
    with pytest.raises(FormatError, match=sentence):
        loads(document)


def test_a_configuration_has_a_limit_of_levels():
    config = "[" * 900 + "]" * 900
    with pytest.raises(FormatError, match="more than 50 levels"):
        loads(with_value("provenance", "config", value={"a": 0}).replace('{"a": 0}', f'{{"a": {config}}}'))


@pytest.mark.parametrize("name", ["diagnostics.v3.json", "comparison.v3.json"])
@pytest.mark.parametrize("ambient", ["dtype", "device"])
def test_reading_and_showing_depend_on_no_default_of_torch(name, ambient, capsys):
    stored = loads(golden(name))
    stored.show()
    shown = capsys.readouterr().out
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64) if ambient == "dtype" else torch.set_default_device("meta")
        again = loads(golden(name))
        again.show()
    finally:
        torch.set_default_dtype(before)
        torch.set_default_device(None)
    assert dumps(again) == golden(name) and capsys.readouterr().out == shown


def test_what_is_read_has_the_fields_of_the_results():
    pairs = [
        (stored.StoredUnit, Unit),
        (stored.StoredAlternative, Alternative),
        (stored.StoredProvenance, Provenance),
        (stored.AttributionVersion3, Attribution),
    ]
    for model, data in pairs:
        assert set(model.model_fields) - {"kind", "version"} == {field.name for field in fields(data)}


def test_a_configuration_of_any_values_can_be_saved(result):
    config = {"temperature": float("nan"), "dtype": torch.float16, 3: (1, {"a": float("inf")}), "day": date(2024, 5, 1)}
    odd = replace(result, provenance=replace(result.provenance, config=MappingProxyType(config)))
    assert loads(dumps(odd)).provenance.config == {
        "temperature": "nan", "dtype": "torch.float16", "3": [1, {"a": "inf"}], "day": "2024-05-01",
    }  # fmt: skip


def test_a_result_is_called_by_drawable_names(result):
    odd = replace(result, provenance=replace(result.provenance, model="\x1b[31m\x9b\u202e\ud800\n"))
    assert repr(odd).endswith("␛[31m⟨U+009B⟩⟨U+202E⟩⟨U+D800⟩↵)")
    assert repr(odd).removeprefix("Attribution(").isprintable()


def diagnostics(**changed):
    """The golden file of version 3, with other entries in the first diagnostic: `total`, of two targets."""
    data = json.loads(golden("diagnostics.v3.json"))
    data["diagnostics"][0].update(changed)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"values": [1.0]}, "table should be 2"),
        ({"values": [[1.0, 2.0, 3.0]]}, "table should be 2 × 3"),
        ({"values": [[1.0, 2.0], [1.0, 2.0]]}, "table should be 2 × 3"),
        ({"values": [1.0, [2.0]]}, "damaged"),
        ({"allowed": [1.0, 2.0, 3.0]}, "table should be 2"),
        ({"dtype": "complex64"}, "dtype: .*'float32' or 'int64', but got 'complex64'"),
        ({"dtype": "int64", "values": [1, 2.5]}, "integers only"),
        ({"dtype": "int64", "values": [1, None]}, "integers only"),
    ],
)
def test_diagnostics_of_another_shape_are_refused(changed, sentence):
    assert loads(diagnostics(values=[1.0, 2.0])).diagnostics["total"].values.tolist() == [1.0, 2.0]
    with pytest.raises(FormatError, match=sentence):
        loads(diagnostics(**changed))


@pytest.mark.parametrize("name", ["change", "residual", "allowed", "nodes"])
def test_a_certificate_of_another_shape_is_refused(name):
    data = json.loads(golden("integrated_gradients.v2.json"))
    data["certificate"][name].append(1)
    with pytest.raises(FormatError, match="table should be 2"):
        loads(json.dumps(data))


def test_a_missing_or_binary_file_is_said_to_be_so(tmp_path):
    with pytest.raises(FormatError, match="No such file"):
        Attribution.load(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match=r"b\.json"):
        Attribution.load(tmp_path / "b.json")


def test_loading_runs_no_code(result):
    with pytest.raises(FormatError):
        loads('{"schema": "tokensal/attribution", "version": 2, "provenance": {"__class__": "os.system"}}')


def test_the_list_of_formats_names_those_there_are():
    assert set(FORMATS) == {*STORES, *RENDERERS}


def test_outputs_are_checked(tmp_path):
    with pytest.raises(OutputError, match=r"suffix.*\.html, \.json, "):
        check_output(tmp_path / "r.docx")
    with pytest.raises(OutputError, match="does not exist"):
        check_output(tmp_path / "no" / "r.json")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        check_output(tmp_path / "d.html")


def test_a_place_without_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(OutputError, match="No permission"):
        check_output(tmp_path / "r.json")


def test_a_failed_save_keeps_the_old_file_and_leaves_no_litter(result, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("old")
    monkeypatch.setattr(os, "replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OutputError, match="No space left"):
        result.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["r.json"]


@pytest.mark.parametrize("suffix", ["html", "json", "txt"])
def test_every_format_is_written_readable_to_others(result, tmp_path, suffix):
    path = tmp_path / f"r.{suffix}"
    result.save(path)
    assert path.stat().st_size > 300
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("suffix", RENDERERS)
def test_a_renderer_is_a_module_that_draws_a_heatmap_and_a_comparison(result, suffix):
    """What the table promises of each: the same layout gives the same document, in the one form and the other."""
    draw, heatmap = renderer(suffix), lay_out(result)
    comparison = lay_out_comparison(Comparison((result, result)))
    assert draw.draw_heatmap(heatmap, Drawing()) == draw.draw_heatmap(heatmap, Drawing())
    assert draw.draw_comparison(comparison, Drawing()) == draw.draw_comparison(comparison, Drawing())
    assert draw.draw_heatmap(heatmap, Drawing()) != draw.draw_comparison(comparison, Drawing())
