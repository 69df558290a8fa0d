"""What decoder-only and encoder–decoder models have in common: how they generate, and what the engine needs of them."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from tokensal.adapters.batches import answers_together, is_batchable
from tokensal.adapters.branches import join_forwards, split_branches, split_inputs
from tokensal.adapters.frozen import seeded
from tokensal.adapters.generating import generate_options
from tokensal.adapters.hooked import HookedModel
from tokensal.adapters.hooks import cut_at_the_head
from tokensal.adapters.layers import unscaled_length
from tokensal.adapters.prompted import PromptAdapter
from tokensal.adapters.prompting import Prompt, baseline_ids
from tokensal.adapters.quiet import quiet_libraries
from tokensal.adapters.support import check_model, unwrapped
from tokensal.adapters.trials import (
    agrees_in_batches,
    findings_of,
    forwards_agree_together,
    rebuilt_gradients_agree,
    require_eager_agreement,
    running,
)
from tokensal.drawable import drawable
from tokensal.errors import InputError, UnsupportedModel, foreign
from tokensal.perturbations.inputs import PerturbedInputs
from tokensal.questions.masks import source_places
from tokensal.transfers import sent
from tokensal.types import (
    Example,
    Forward,
    Original,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

EMBEDS = ("inputs_embeds", "decoder_inputs_embeds")


class ModelAdapter(PromptAdapter, HookedModel):
    """A model and its tokenizer, ready to be attributed. Neither is changed in any way.

    Make one with `tokensal.load` or `tokensal.adapt`.

    Args:
        model: a HuggingFace language model.
        tokenizer: its tokenizer.
        name: what to call the model in results.
        revision: the revision it was loaded from; None if unknown.

    Raises:
        UnsupportedModel: its architecture cannot be attributed; the message says why.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str | None = None,
        revision: str | None = None,
    ) -> None:
        super().__init__(unwrapped(model))
        self.tokenizer = tokenizer
        self.name = name or self.model.name_or_path or type(self.model).__name__
        self.revision = revision
        self.request: Mapping[str, Any] | None = None  # the arguments of `load` that load it again
        with running(self.model):
            check_model(self.model)
        self._shift: Tensor | None = None
        self._answers: dict[Hashable, list[int]] = {}  # that are generated ahead
        self._shares_states = True  # as long as they are tried
        self._findings = findings_of(self, model)
        self._shares_states = self._findings.shares_states

    def _require_eager(self) -> None:
        require_eager_agreement(self, self._findings)

    @property
    def rebuilds(self) -> bool:
        """Whether gradients through layers that are run again are those of the plain graph, tried once."""
        return rebuilt_gradients_agree(self, self._findings)

    def __repr__(self) -> str:
        name, architecture = type(self).__name__, type(self.model).__name__
        return drawable(f"{name}({self.name}, {architecture}, {self._dtype} on {self.device})")

    # Generating an answer

    def _before_answer(self, prompt: Prompt) -> int:
        return 1 if self.model.config.is_encoder_decoder else len(prompt.ids)

    @property
    def _context(self) -> int | None:
        """How many tokens the model has positions for; None without a limit."""
        limit: int | None = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return limit if limit and limit > 0 else None  # XLNet says -1

    @property
    def vocabulary(self) -> int:
        """How many tokens the model knows."""
        return len(self.model.get_input_embeddings().weight)

    def _generate(self, ids: Sequence[int], options: dict[str, Any], limit: int, seed: int | None) -> list[int]:
        """All that `generate` returns, from the prompt on or, of an encoder–decoder model, from its start token on."""
        if (known := self._answers.get(_key(ids, options, limit))) is not None:
            return list(known)
        options = generate_options(self.model, self.tokenizer, options, limit)
        prompt = torch.tensor([list(ids)])
        sequences = self.generate(prompt, torch.ones_like(prompt), options, seed)
        if len(sequences) != 1:
            raise InputError(
                f"Generation returned {len(sequences)} sequences, but one is explained at a time: ask for one."
            )
        return sequences[0].tolist()

    def generate(self, ids: Tensor, mask: Tensor, options: dict[str, Any], seed: int | None = None) -> Tensor:
        """The sequences that the model generates after padded prompts (rows, columns), of which some are masked.

        Raises:
            InputError: the model cannot generate with these options.
        """
        with (
            quiet_libraries(),
            foreign(InputError, "The model cannot generate with these options"),
            seeded(seed, self.device),
            self.prepared(),
            torch.no_grad(),
        ):
            inputs = {"input_ids": ids.to(self.device), "attention_mask": mask.to(self.device)}
            output = self.model.generate(**inputs, **options)
        sequences: Tensor = output if isinstance(output, Tensor) else output.sequences
        return sequences

    def generates_together(self, lengths: Collection[int], options: dict[str, Any], limit: int) -> bool:
        """Whether answers to prompts of so many tokens can be generated in a batch; see `tokensal.adapters.batches`."""
        known = generate_options(self.model, self.tokenizer, options, limit)
        padded = len(set(lengths)) > 1
        scaled = max(lengths) + limit > unscaled_length(self.model.config.get_text_config())
        return (
            is_batchable(self.model, known)
            and not (padded and scaled)
            and agrees_in_batches(self, self._findings, padded)
        )

    def generate_ahead(self, prompts: Sequence[Sequence[int]], options: dict[str, Any], limit: int) -> None:
        """Generate the answers to several prompts in a batch; `example` takes them from there until they are forgotten.

        Args:
            prompts: token ids, which `generates_together`.
            options: those of `Generation`.
            limit: new tokens at most.
        """
        known = generate_options(self.model, self.tokenizer, options, limit)
        for ids, answer in zip(prompts, answers_together(self, prompts, known), strict=True):
            if answer is not None:
                self._answers[_key(ids, options, limit)] = answer

    def forget_answers(self) -> None:
        """Forget what was generated ahead."""
        self._answers.clear()

    # What the engine needs

    def embed(self, example: Example) -> Tensor:
        """The embeddings of the sources, (S, D)."""
        ids = sent(torch.tensor([[token.id for token in example.sources]]), self.device)
        with torch.no_grad():
            embeds: Tensor = self.model.get_input_embeddings()(ids)[0]
            return embeds if self._shift is None else embeds + self._shift[source_places(example)].to(embeds)

    def shifted(self, shift: Tensor) -> Self:
        """The same model, to which embeddings are shifted wherever it reads those of an example: by (S, D).

        Where an example branches, both continuations have the shifts of the same places.
        """
        adapter = copy.copy(self)
        adapter._shift = shift
        return adapter

    def baseline(self, name: str, length: int) -> Tensor:
        """Embeddings (length, D) of a baseline: the mean of all tokens, or named tokens, repeated to the length."""
        table = self.model.get_input_embeddings()
        with torch.no_grad():
            if name == "mean":
                vocabulary = torch.arange(self.vocabulary, device=self.device)
                return table(vocabulary).mean(0).expand(length, -1)
            ids = sent(torch.tensor(self._in_vocabulary(baseline_ids(self.tokenizer, name))), self.device)
            return table(ids[torch.arange(length, device=self.device) % len(ids)])

    def original(self, example: Example) -> Original:
        """The forward of the unaltered example, and the states that perturbations can share."""
        if example.branch is None:
            return self._original(example, self._shares_states)
        originals = [self._original(branch, self._shares_states) for branch in split_branches(example)]
        return Original(join_forwards([part.forward for part in originals]), [part.states for part in originals])

    def forward(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Forward:
        """One pass over R perturbations, with logits (R, G, V) of the positions that predict targets.

        Where the example branches, one pass for each continuation.
        """
        if example.branch is None:
            return self._forward(example, perturbed, states)
        completed = self._completed(example, perturbed, min(perturbed.first, example.predictors[0]))
        states = states if isinstance(states, list) else (states, states)  # of what both continuations read
        runs = zip(split_branches(example), split_inputs(example, completed), states, strict=True)
        return join_forwards([self._forward(branch, part, part_states) for branch, part, part_states in runs])

    def states(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Any:
        """What R perturbations of sources before the first predictor, and no others, leave for those that go on.

        None where the model does not cache it.
        """
        return self._states(example, perturbed, states[0] if isinstance(states, list) else states)

    def continues(self, example: Example) -> bool:
        """Whether perturbations can go on from the `states` of others."""
        return False

    def skips(self, example: Example) -> bool:
        """Whether sources that attention does not see need not be run, where the others keep their positions."""
        return False

    def runs_together(self, examples: Sequence[Example]) -> bool:
        """Whether one forward can run these examples, each as if by itself; all of them branch, or none does."""
        longest = max(len(each.sources) for each in examples)
        scaled = longest > unscaled_length(self.model.config.get_text_config())
        return not scaled and forwards_agree_together(self, self._findings)

    def forward_together(self, examples: Sequence[Example], embeds: Sequence[Tensor]) -> Forward:
        """One pass over N examples, with logits (N, G, V) of the positions that predict their targets.

        Where they branch, one pass for each continuation. Of each continuation, the targets of an example come first;
        columns that only others have hold one of its own again.

        Args:
            examples: which `runs_together`.
            embeds: of the sources of each, (S, D); the graph reaches them where they require gradients.
        """
        if examples[0].branch is None:
            return self._forward_together(examples, embeds)
        branches = [split_branches(example) for example in examples]
        inputs = [
            [part.embeds[0] for part in split_inputs(example, PerturbedInputs(each[None]))]
            for example, each in zip(examples, embeds, strict=True)
        ]
        runs = zip(zip(*branches, strict=True), zip(*inputs, strict=True), strict=True)
        return join_forwards([self._forward_together(parts, part_embeds) for parts, part_embeds in runs])

    @abstractmethod
    def _forward_together(self, examples: Sequence[Example], embeds: Sequence[Tensor]) -> Forward:
        """`forward_together` of examples with one continuation."""

    @abstractmethod
    def _original(self, example: Example, share: bool) -> Original:
        """`original` of an example with one continuation."""

    @abstractmethod
    def _forward(self, example: Example, perturbed: PerturbedInputs, states: Any = None) -> Forward:
        """`forward` of an example with one continuation."""

    def _states(self, example: Example, perturbed: PerturbedInputs, states: Any) -> Any:
        """`states` of an example with one continuation. None with an encoder: its tokens all see one another."""
        return None

    def _completed(self, example: Example, perturbed: PerturbedInputs, first: int = 0) -> PerturbedInputs:
        """The same perturbations from source `first` on, with the unaltered sources between."""
        if perturbed.first == first:
            return perturbed
        before = self.embed(example)[first : perturbed.first].expand(len(perturbed), -1, -1)
        keep = perturbed.keep
        if keep is not None:
            keep = torch.cat([keep.new_ones(len(perturbed), perturbed.first - first), keep], dim=1)
        return replace(perturbed, embeds=torch.cat([before, perturbed.embeds], dim=1), keep=keep, first=first)

    def _called(self, inputs: Mapping[str, Any], predictors: Tensor, start: int) -> tuple[Forward, Any]:
        """The model called with those of the inputs that it takes, cut at the head; and its own output."""
        if any(isinstance(value, Tensor) and value.requires_grad for value in inputs.values()):
            self._check_gradients()
        # copies of the embeddings, since CTRL scales its input in place
        inputs = {**inputs, **{name: inputs[name].clone() for name in EMBEDS if inputs.get(name) is not None}}
        with cut_at_the_head(self.model.get_output_embeddings(), predictors) as cut:
            output = self.model(**{name: value for name, value in inputs.items() if name in self._accepted})
        if not cut:
            raise UnsupportedModel(
                f"The {self.model.config.model_type!r} model cannot be attributed: it bypasses its head."
            )
        hidden, leaf = cut
        logits = output.logits.to(self.device)  # accelerate leaves them where the first of the inputs was
        return Forward(hidden, (leaf,), logits, start), output

    @property
    def _accepted(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.model.forward).parameters

    # What a result says about the model

    def describe(self) -> dict[str, Any]:
        """Name, revision, architecture, dtype, device and attention implementation, for the provenance."""
        return {
            "model": self.name,
            "revision": self.revision,
            "architecture": type(self.model).__name__,
            "dtype": self._dtype,
            "device": str(self.device),
            "attention": self.model.config._attn_implementation,
        }

    @property
    def _dtype(self) -> str:
        return str(self.model.dtype).removeprefix("torch.")


def _key(ids: Sequence[int], options: Mapping[str, Any], limit: int) -> Hashable:
    """What an answer that is generated ahead is known by."""
    return tuple(ids), repr(sorted(options.items())), limit


def predictors_together(examples: Sequence[Example]) -> Tensor:
    """(N, G) which of the decoder's inputs predict the targets of each example; its last one where others have more."""
    most = max(len(each.targets) for each in examples)
    rows = [[*each.predictors, *each.predictors[-1:] * (most - len(each.targets))] for each in examples]
    return torch.tensor(rows) - torch.tensor([[each.encoder] for each in examples])


def predicted_before(example: Example, first: int) -> int:
    """How many targets are predicted before the source `first`: the first target at or after it."""
    return sum(predictor < first for predictor in example.predictors)
