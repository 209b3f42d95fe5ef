"""The command line becomes settings, and settings become units."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import arguments
from benchmarks.engines import ENGINES
from benchmarks.models import CONTENDED_ROWS, ROWS
from benchmarks.plan import Settings, Unit


def parse(line: str, cores: int = 2) -> Settings:
    p = arguments.parser()
    return arguments.settings(p, p.parse_args(line.split()), cores)[0]


def test_the_whole_table():
    s = parse("")
    assert list(s.threads) == [1, 2]
    assert s.engines[:2] == ["mlc", "eager"]
    assert len(s.units()) == 2 * len(ROWS) + len(CONTENDED_ROWS)
    assert s.units()[-1] == Unit("resnet50", 2, True)


def test_one_pair():
    s = parse("--models resnet50 --peers jit --threads 2 --runs 7", cores=4)
    assert (s.engines, s.runs, s.units()) == (["mlc", "eager", "jit"], 7, [Unit("resnet50", 2)])


def test_lower_precision():
    s = parse("--models linear_1024 --precision int8 --threads 1")
    assert s.engines in (["mlc", "eager"], ["mlc", "eager", "ort"])
    assert s.units() == [Unit("linear_1024", 1, False, "int8")]
    assert s.units()[0].key == "linear_1024/1/int8"
    assert not parse("--precision bfloat16").contended


@pytest.mark.parametrize(
    ("text", "engines"),
    [
        ("eager,torch.jit,torch.compile", ["mlc", "eager", "jit", "inductor"]),
        ("onnxruntime,openvino", ["mlc", "eager", "ort", "openvino"]),
        ("ONNX Runtime, OpenVINO, ort", ["mlc", "eager", "ort", "openvino"]),
        ("ONNX,Torch.JIT", ["mlc", "eager", "jit", "ort"]),
    ],
)
def test_peers_are_found_by_the_names_that_tables_show(text: str, engines: list[str], monkeypatch: pytest.MonkeyPatch):
    for name, engine in ENGINES.items():
        monkeypatch.setitem(ENGINES, name, replace(engine, missing=lambda: None))
    p = arguments.parser()
    assert arguments.settings(p, p.parse_args(["--peers", text]), 2)[0].engines == engines


def test_contended_only():
    assert parse("--contended --models vgg16", cores=4).units() == [Unit("vgg16", 4, True)]
    assert [u.row for u in parse("--contended").units()] == list(CONTENDED_ROWS)


def test_one_core_has_no_neighbour():
    p = arguments.parser()
    s, left_out = arguments.settings(p, p.parse_args([]), 1)
    assert left_out["contended rows"] == "there is only one core"
    assert all(u.threads == 1 and not u.contended for u in s.units())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--models resnet5", "there is no row 'resnet5'; did you mean 'resnet50'?"),
        (
            "--peers openvin",
            "there is no peer 'openvin' in float32; there are eager, jit (torch.jit), inductor (torch.compile), "
            "ort (ONNX Runtime, onnxruntime, onnx), openvino (OpenVINO)",
        ),
        ("--precision bfloat", "there is no precision 'bfloat'; did you mean 'bfloat16'?"),
        ("--precision int8 --peers torch.jit", "there is no peer 'jit' in int8; there are eager, ort (ONNX Runtime"),
        ("--threads two", "--threads two: whole numbers from 1 to 1024"),
        ("--threads 0", "--threads 0: whole numbers from 1 to 1024"),
        ("--runs 0", "--runs 0: at least 1"),
    ],
)
def test_mistakes_are_named(line: str, message: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse(line)
    assert message in capsys.readouterr().err


def test_settings_have_one_name():
    assert parse("--models vgg16").name() == parse("--models vgg16").name()
    assert parse("--models vgg16").name() != parse("--models vgg16 --runs 3").name()


def test_units_say_what_they_are():
    assert str(Unit("vgg16", 2, True)) == "vgg16, 2 threads, contended"
    assert Unit("vgg16", 2, True).key == "vgg16/2/contended"


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("", False),
        ("--runs 1", False),
        ("--precision int8", False),
        ("--models vgg16", True),
        ("--peers eager --precision bfloat16", True),
        ("--threads 1", True),
        ("--threads 1,2", True),
        ("--contended", True),
        ("--models vgg16 --precision int8", True),
    ],
)
def test_a_run_of_chosen_rows_engines_or_threads_is_a_part(line: str, part: bool):
    assert arguments.is_part(parse(line), 2) == part
