"""What is promised of the colours of pages, paper and terminals, measured with coloraide."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from coloraide import Color
from rich.color_triplet import ColorTriplet
from rich.console import Console
from test_layout import attribution_of

from tokensal.drawing import PALETTES, SEQUENTIAL, Drawing
from tokensal.render import terminal
from tokensal.render.layout import lay_out, palette
from tokensal.render.layout.palette import BLACK, WHITE, page_palettes, paper_palette
from tokensal.render.terminal.colours import Colours, contrast, shading

STEPS = 40  # of a ramp from nothing to the end
APART = 2.0  # L* between the two hues at the same |score|
BOWED = 0.04  # of the range of L*: how far a ramp may be from a straight line
DISTINCT = 25.0  # ΔE2000 between both ends; 2 is what an eye can just tell apart in one look
DICHROMACIES = ("protan", "deutan", "tritan")
SIMULATIONS = ("brettel", "vienot", "machado")


@dataclass(frozen=True)
class Surface:
    """A background with the colours on it: what is promised is the same for a page and for paper."""

    background: tuple[int, int, int]
    fill: Callable[[float], tuple[int, int, int]]
    ink: Callable[[float], tuple[int, int, int]]
    two_hues: bool


def surface(name: str, kind: str) -> Surface:
    if kind == "paper":
        return Surface(WHITE, paper_palette(name).fill, lambda shade: BLACK, name != SEQUENTIAL)
    page = page_palettes(name)[kind == "dark"]
    return Surface(page.background, page.fill, page.ink, name != SEQUENTIAL)


def colour(triplet: tuple[int, int, int]) -> Color:
    return Color("srgb", [channel / 255 for channel in triplet])


def lightness(triplet: tuple[int, int, int]) -> float:
    """L* of CIE Lab: what a good greyscale print keeps."""
    return float(colour(triplet).convert("lab-d65")["lightness"])


def ratio(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    return float(colour(first).contrast(colour(second), method="wcag21"))


def is_of_equal_lightness(on: Surface) -> bool:
    ramp = [step / STEPS for step in range(STEPS + 1)]
    return all(abs(lightness(on.fill(shade)) - lightness(on.fill(-shade))) <= APART for shade in ramp)


def is_nearly_linear(on: Surface) -> bool:
    """Whether lightness changes in one direction, and nearly by as much for equal steps of the score."""
    for sign in (1, -1):
        ramp = [lightness(on.fill(sign * step / STEPS)) for step in range(STEPS + 1)]
        start, span = ramp[0], ramp[-1] - ramp[0]
        steps = [(after - before) * span for before, after in pairwise(ramp)]
        bow = max(abs(value - start - span * step / STEPS) for step, value in enumerate(ramp))
        if min(steps) <= 0 or bow > BOWED * abs(span):
            return False
    return True


def is_distinct_to_dichromats(on: Surface) -> bool:
    """Whether who sees two dimensions of colour tells for from against, by each of three simulations."""
    if not on.two_hues:  # the underline alone tells the sign
        return on.fill(1) == on.fill(-1)
    return all(
        simulated(on.fill(1), kind, method).delta_e(simulated(on.fill(-1), kind, method), method="2000") >= DISTINCT
        for kind in DICHROMACIES
        for method in SIMULATIONS
    )


def simulated(triplet: tuple[int, int, int], kind: str, method: str) -> Color:
    return colour(triplet).filter(kind, method=method).clip()


def has_readable_text(on: Surface) -> bool:
    shades = [step / 1000 for step in range(-1000, 1001)]
    return all(contrast(ColorTriplet(*on.fill(s)), ColorTriplet(*on.ink(s))) >= 4.5 for s in shades)


def has_visible_ends(on: Surface) -> bool:
    return min(ratio(on.fill(end), on.background) for end in (1, -1)) >= 3


CHECKS = (
    is_of_equal_lightness, is_nearly_linear, is_distinct_to_dichromats, has_readable_text, has_visible_ends,
)  # fmt: skip


@pytest.mark.parametrize("kind", ["paper", "light", "dark"])
@pytest.mark.parametrize("name", PALETTES)
@pytest.mark.parametrize("check", CHECKS)
def test_colours_keep_what_is_promised(check, name, kind):
    assert check(surface(name, kind))


def mixed(positive: tuple[int, int, int], negative: tuple[int, int, int], power: float = 1.0) -> Surface:
    fill = replace(paper_palette("PuOr"), positive=positive, negative=negative).fill
    bent = lambda shade: fill(abs(shade) ** power * (-1 if shade < 0 else 1))  # noqa: E731
    return Surface(WHITE, bent, lambda shade: BLACK, two_hues=True)


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        (is_of_equal_lightness, mixed((202, 0, 32), (244, 165, 130))),
        (is_nearly_linear, mixed((212, 123, 16), (148, 132, 220), power=0.5)),
        (is_nearly_linear, mixed(WHITE, WHITE)),
        (is_distinct_to_dichromats, mixed((222, 112, 60), (120, 160, 40))),  # red and green
        (is_distinct_to_dichromats, mixed((49, 161, 141), (54, 152, 215))),  # teal and blue
        (has_readable_text, mixed((103, 0, 31), (5, 48, 97))),  # the ends of ColorBrewer's RdBu, below black text
        (has_visible_ends, mixed((253, 219, 199), (209, 229, 240))),
    ],
)
def test_each_check_rejects_bad_colours(check, bad):
    assert not check(bad)


@pytest.mark.parametrize("name", PALETTES)
def test_the_rule_of_a_negative_stands_out(name):
    """From the paper as text does, and from the fill that it ends."""
    paper = paper_palette(name)
    assert ratio(paper.rule_of_sign, WHITE) >= 7
    assert ratio(paper.rule_of_sign, paper.negative) >= 2.5


@pytest.mark.parametrize("name", PALETTES)
def test_no_two_palettes_are_the_same(name):
    assert set(palette._PAPERS) == set(palette._PAGES) == set(PALETTES)
    for other in set(PALETTES) - {name}:
        assert paper_palette(name) != paper_palette(other)
        assert page_palettes(name) != page_palettes(other)
    assert len(set(page_palettes(name)[0].hues)) == (1 if name == SEQUENTIAL else 2)


@pytest.mark.parametrize("name", PALETTES)
def test_a_shade_is_linear_and_nothing_is_the_background(name):
    for fill, background in ((paper_palette(name).fill, WHITE), (page_palettes(name)[1].fill, (24, 24, 26))):
        assert fill(0) == background
        half, end = fill(-0.5), fill(-1)
        assert all(abs(h - (b + e) / 2) <= 0.5 for h, b, e in zip(half, background, end, strict=True))


# --- terminals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("system", ["truecolor", "256"])
@pytest.mark.parametrize("name", PALETTES)
def test_a_terminal_follows_the_palette(name, system, dark):
    colours = Colours(system, dark, name)
    page = ColorTriplet(0, 0, 0) if dark else ColorTriplet(255, 255, 255)
    for sign in (1, -1):
        styles = [shading(colours, sign * step / 50) for step in range(5, 51)]
        papers = [style.bgcolor.get_truecolor() for style in styles]
        distances = [contrast(paper, page) for paper in papers]
        assert distances == sorted(distances) and distances[-1] > 2 * distances[0]
        texts = [style.color.get_truecolor() for style in styles]
        assert min(map(contrast, texts, papers)) >= 4.5
        assert all(bool(style.underline) == (sign < 0) for style in styles)
    ends = [shading(colours, sign).bgcolor for sign in (1.0, -1.0)]
    assert (ends[0] == ends[1]) == (name == SEQUENTIAL)
    others = [Colours(system, dark, other) for other in PALETTES if other != name]
    assert all(ends != [shading(other, sign).bgcolor for sign in (1.0, -1.0)] for other in others)


def test_of_sixteen_colours_a_sequential_palette_takes_one():
    for_, against = (shading(Colours("16", palette=SEQUENTIAL), sign) for sign in (0.3, -0.3))
    assert for_.bgcolor == against.bgcolor and against.underline and not for_.underline
    for name in set(PALETTES) - {SEQUENTIAL}:
        assert shading(Colours("16", palette=name), -0.3) == shading(Colours("16"), -0.3)
        assert shading(Colours("16", palette=name), 0.3).bgcolor != against.bgcolor


def test_what_is_printed_has_the_colours_of_the_drawing():
    layout = lay_out(attribution_of(["a", " b", " c"], [[2.0, -2.0]], sink=None))
    for name in PALETTES[1:]:
        console = Console(file=io.StringIO(), width=80, color_system="truecolor", force_terminal=True)
        terminal.show(layout, Drawing(palette=name, theme="dark"), console=console)
        dark = page_palettes(name)[1]
        for end in (dark.positive, dark.negative):
            assert f"48;2;{';'.join(map(str, end))}" in console.file.getvalue()
