"""The battery's rows: what each method promises, and its slow twin (see `twins.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from surrogate_twins import context_cite, extremal_perturbation, left_out, lime, rise
from twins import (
    Twin,
    altered,
    attention_rollout,
    by_input,
    by_norm,
    deep_lift,
    gradient_shap,
    hierarchical,
    kernel_shap,
    lrp,
    rectified,
    shapley_sampling,
    shapley_values,
    shared,
    smooth_grad,
    value_zeroing,
    var_grad,
    with_interactions_modified,
)

from tokensal.methods import (
    GIM,
    LIME,
    LRP,
    RISE,
    ALTILogit,
    Attention,
    AttentionGradCAM,
    AttentionRollout,
    ContextCite,
    Deconvnet,
    DeepLift,
    ExtremalPerturbation,
    GradCAM,
    Gradient,
    GradientRollout,
    GradientSHAP,
    GuidedBackprop,
    Hierarchical,
    HierarchicalOcclusion,
    InformationFlowRoutes,
    InputXGradient,
    IntegratedGradients,
    KernelSHAP,
    Method,
    Occlusion,
    OwenValues,
    ShapleySampling,
    ShapleyValues,
    SmoothGrad,
    ValueXGradient,
    ValueZeroing,
    VarGrad,
)


@dataclass(frozen=True)
class Row:
    """What the battery knows of a method.

    Attributes:
        method: with its options.
        twin: a slow twin; None where the method has a test file of its own with twins.
        linear: whether the scores of a group are the sum of its targets' scores.
        additive: whether the score of a unit is the sum of its tokens' scores.
        contrast: whether it can explain one text against another.
        complete: whether its scores add up to the total that it states.
        efficient: whether its scores add up to the change from the empty to the full coalition.
        everywhere: whether it runs on every architecture; else on two, since it stands on the engine's scores alone, or
            differs little from another row.
        attention: of the plain model that the twin runs.
        exempt: architectures that the twin cannot run, and why.
        refused: architectures that the method refuses.
    """

    method: Method
    twin: Twin | None = None
    linear: bool = False
    additive: bool = True
    contrast: bool = True
    complete: bool = False
    efficient: bool = False
    everywhere: bool = True
    attention: str = "sdpa"
    exempt: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


# Rows

CAUSAL_ONLY = "the twin reads one table of embeddings, whose scale in an encoder is the adapter's business"
NOT_LLAMA = "the twin replaces the modules of Llama; that the scores add up is checked on every architecture"
MIXTURES = ("Mixtral", "Qwen 3 MoE")
NOT_LLAMA_OR_CAUSAL = {"other": NOT_LLAMA, "encoder–decoder": NOT_LLAMA}
# The players are the tokens of the prompt. None is masked: the encoder reads no special token that would stay.
PADDED = {"replacement": "pad", "keep": ("sink", "special", "template", "generated")}
OF_COALITIONS = {"additive": False, "efficient": True, "everywhere": False}

ROWS = {
    "gradient": Row(Gradient()),
    "input_x_gradient": Row(InputXGradient(), linear=True),
    "smooth_grad": Row(
        SmoothGrad(samples=3, noise=0.2, seed=5),
        smooth_grad(by_norm, 3, 0.2, 5),
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "smooth_grad of input_x_gradient": Row(
        SmoothGrad(method="input_x_gradient", samples=3, noise=0.2, seed=5),
        smooth_grad(by_input, 3, 0.2, 5),
        linear=True,
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "smooth_grad of grad_cam": Row(SmoothGrad(method=GradCAM(layers="all"), samples=3)),
    "guided_backprop": Row(GuidedBackprop(), altered(rectified(True), by_norm), exempt=NOT_LLAMA_OR_CAUSAL),
    "guided_backprop, times input": Row(GuidedBackprop(times_input=True), everywhere=False),
    "deconvnet": Row(Deconvnet(), altered(rectified(False), by_norm), everywhere=False, exempt=NOT_LLAMA_OR_CAUSAL),
    "var_grad": Row(
        VarGrad(samples=3, noise=0.2, seed=5), var_grad(3, 0.2, 5), exempt={"encoder–decoder": CAUSAL_ONLY}
    ),
    "var_grad of grad_cam": Row(VarGrad(method=GradCAM(layers="all"), samples=3)),
    "lrp": Row(
        LRP(),
        lrp("half"),
        linear=True,
        complete=True,
        attention="eager",
        exempt={"other": NOT_LLAMA, "encoder–decoder": NOT_LLAMA},
    ),
    "lrp, gate constant": Row(
        LRP(gate="constant"),
        lrp("constant"),
        linear=True,
        complete=True,
        attention="eager",
        exempt={"other": NOT_LLAMA, "encoder–decoder": NOT_LLAMA},
    ),
    "lrp, attn": Row(LRP(rule="attn"), linear=True),
    "lrp, epsilon and gamma": Row(
        LRP(epsilon=0.1, gamma=0.3),
        altered(shared(0.1, 0.3), by_input),
        linear=True,
        everywhere=False,
        attention="eager",
        exempt=NOT_LLAMA_OR_CAUSAL,
    ),
    "lrp, gamma": Row(LRP(gamma=0.3), linear=True, complete=True),
    "gim": Row(
        GIM(), altered(with_interactions_modified, by_input), linear=True, attention="eager", exempt=NOT_LLAMA_OR_CAUSAL
    ),
    "integrated_gradients": Row(IntegratedGradients(steps=3), linear=True),
    "deep_lift": Row(DeepLift(), deep_lift("values"), exempt=NOT_LLAMA_OR_CAUSAL, refused=MIXTURES),
    "deep_lift, attention mean": Row(
        DeepLift(attention="mean"),
        deep_lift("mean"),
        everywhere=False,
        exempt=NOT_LLAMA_OR_CAUSAL,
    ),
    "gradient_shap": Row(
        GradientSHAP(baseline="zero", samples=3, noise=0.2, seed=5, keep=("sink",)),
        gradient_shap(3, 0.2, 5),
        linear=True,
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "grad_cam": Row(GradCAM()),
    "attention_grad_cam": Row(AttentionGradCAM()),
    "gradient_rollout": Row(GradientRollout()),
    "value_x_gradient": Row(ValueXGradient()),  # its twins, and those of alti_logit, are in test_attention_methods.py
    "value_x_gradient, signed": Row(ValueXGradient(rule="signed"), linear=True),
    "attention": Row(Attention(), linear=True, contrast=False),
    "attention_rollout": Row(AttentionRollout(), attention_rollout, linear=True, contrast=False, attention="eager"),
    "value_zeroing": Row(ValueZeroing(), value_zeroing, linear=True, contrast=False),
    "information_flow_routes": Row(InformationFlowRoutes(), linear=True, contrast=False),
    "alti_logit": Row(ALTILogit(), linear=True, everywhere=False),
    "occlusion": Row(Occlusion(), linear=True, additive=False),
    "shapley_values": Row(ShapleyValues(**PADDED), shapley_values, linear=True, **OF_COALITIONS),
    "shapley_sampling": Row(
        ShapleySampling(samples=4, seed=7, **PADDED), shapley_sampling(4, 7), linear=True, **OF_COALITIONS
    ),
    "kernel_shap": Row(KernelSHAP(samples=40, seed=7, **PADDED), kernel_shap(40, 7), linear=True, **OF_COALITIONS),
    "owen_values": Row(OwenValues(samples=8, **PADDED), **OF_COALITIONS),
    "hierarchical_occlusion": Row(
        HierarchicalOcclusion(levels=("message",), **PADDED), left_out, linear=True, additive=False, everywhere=False
    ),
    "hierarchical": Row(
        Hierarchical(method=ShapleyValues(**PADDED), levels=("message", "word"), opened=1),
        hierarchical("word", 1),
        **OF_COALITIONS,
    ),
    "rise": Row(
        RISE(samples=24, window=2, seed=3, tolerance=1e-6, **PADDED),
        rise(24, 2, 3),
        linear=True,
        additive=False,
        everywhere=False,
    ),
    "extremal_perturbation": Row(
        ExtremalPerturbation(baseline="mean", areas=(0.2, 0.5), steps=4, smoothing=0.4, keep=("sink",)),
        extremal_perturbation((0.2, 0.5), 4, 0.4),
        additive=False,
        exempt={"encoder–decoder": CAUSAL_ONLY},
    ),
    "lime": Row(LIME(samples=24, seed=3, **PADDED), lime(24, 3), linear=True, additive=False, everywhere=False),
    "context_cite": Row(
        ContextCite(samples=24, seed=3, regularization=0.01, **PADDED),
        context_cite(24, 3, 0.01),
        additive=False,
        everywhere=False,
    ),
}
