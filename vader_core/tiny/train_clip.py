"""Trains the text-match reward (CLIP) and its preference head, together.

    python -m vader_core.tiny.train_clip --out vader_core/tiny/weights/tiny-clip

The contrastive loss compares single frames with captions; a direction cannot be seen in a frame, so
captions come with and without it. The head learns by the Bradley-Terry model from pairs of a good
frame and one that is blurred, noisy, washed out, torn, or of another scene, for the same prompt.
Its gradient reaches the image tower, whose embeddings would otherwise not tell sharp from blurred.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from vader_core.tiny import architectures, augment, folders, training, world
from vader_core.tiny.preference import PreferenceHead
from vader_core.tiny.tokenizers import clip_tokenizer

_RATE = 1e-3
_BATCH = 64


class Pairs(NamedTuple):
    """Prompts with a preferred and a rejected frame (N, C, H, W) each, and why it was rejected."""

    prompts: list[str]
    scenes: list[tuple[str, str]]
    better_NCHW: torch.Tensor
    worse_NCHW: torch.Tensor
    fault_N: torch.Tensor  # index into augment.FAULTS; one past its end: another scene


def draw_pairs(count: int, *, generator: torch.Generator) -> Pairs:
    """New preference pairs; a fifth of them differ in the scene instead of the quality."""
    batch = world.draw_batch(count, generator=generator, num_frames=2)
    frames = augment.soften(batch.frames_BFCHW, generator=generator)[:, 0]
    kinds = len(augment.FAULTS)
    fault_N = torch.randint(0, kinds + 1, (count,), generator=generator)
    damaged = augment.damage(frames, fault_N.clamp(max=kinds - 1), generator=generator)
    # The next video's frame is the mismatch; where it happens to show the same scene, keep a fault.
    looks = [(scene.colour, scene.shape) for scene in batch.scenes]
    same = torch.tensor(
        [look == other for look, other in zip(looks, [*looks[1:], looks[0]], strict=True)]
    )
    fault_N = torch.where(same & (fault_N == kinds), kinds - 1, fault_N)
    mismatch = (fault_N == kinds)[:, None, None, None]
    worse = torch.where(mismatch, frames.roll(-1, 0), damaged)
    mentions = torch.rand(count, generator=generator) < 0.6
    prompts = [
        world.caption(scene if mention else world.Scene(scene.colour, scene.shape, None))
        for scene, mention in zip(batch.scenes, mentions.tolist(), strict=True)
    ]
    return Pairs(prompts, looks, frames, worse, fault_N)


def embed_images(model: CLIPModel, frames_NCHW: torch.Tensor) -> torch.Tensor:
    """Normalised image embeddings (N, D) of frames in [0, 1]."""
    pooled = model.vision_model(pixel_values=frames_NCHW.to(model.device) * 2 - 1).pooler_output
    return functional.normalize(model.visual_projection(pooled), dim=-1)


def embed_prompts(model: CLIPModel, tokenizer: CLIPTokenizer, prompts: list[str]) -> torch.Tensor:
    """Normalised text embeddings (N, D), computed once per different prompt."""
    unique = list(dict.fromkeys(prompts))
    tokens = tokenizer(unique, padding="max_length", truncation=True, return_tensors="pt")
    pooled = model.text_model(**tokens.to(model.device)).pooler_output
    embeds = functional.normalize(model.text_projection(pooled), dim=-1)
    return embeds[[unique.index(prompt) for prompt in prompts]]


def contrastive_loss(
    image_ND: torch.Tensor, text_ND: torch.Tensor, scale: torch.Tensor, looks: list[tuple[str, str]]
) -> torch.Tensor:
    """CLIP's symmetric loss in which all captions of the same colour and shape count as right."""
    order = {look: index for index, look in enumerate(dict.fromkeys(looks))}
    group_N = torch.tensor([order[look] for look in looks], device=image_ND.device)
    same_NN = (group_N[:, None] == group_N[None]).float()
    target_NN = same_NN / same_NN.sum(1, keepdim=True)
    logits_NN = scale.exp().clamp(max=50) * image_ND @ text_ND.T
    by_image = functional.cross_entropy(logits_NN, target_NN)
    by_text = functional.cross_entropy(logits_NN.T, target_NN)
    return (by_image + by_text) / 2


def step_loss(
    model: CLIPModel, head: PreferenceHead, tokenizer: CLIPTokenizer, pairs: Pairs
) -> torch.Tensor:
    """Contrastive loss of the preferred frames plus the Bradley-Terry loss of the pairs."""
    images = embed_images(model, torch.cat([pairs.better_NCHW, pairs.worse_NCHW]))
    better_ND, worse_ND = images.chunk(2)
    text_ND = embed_prompts(model, tokenizer, pairs.prompts)
    margin_N = head(better_ND, text_ND) - head(worse_ND, text_ND)
    preference = -functional.logsigmoid(margin_N).mean()
    return contrastive_loss(better_ND, text_ND, model.logit_scale, pairs.scenes) + preference


@torch.no_grad()
def match_accuracy(model: CLIPModel, tokenizer: CLIPTokenizer, *, frames: int, seed: int) -> float:
    """How often the caption of a new frame wins against those of all 18 colours and shapes."""
    generator = torch.Generator().manual_seed(seed)
    batch = world.draw_batch(frames, generator=generator, num_frames=2)
    looks = [(colour, shape) for colour in world.COLOURS for shape in world.SHAPES]
    captions = [world.caption(world.Scene(colour, shape, None)) for colour, shape in looks]
    image_ND = embed_images(model, batch.frames_BFCHW[:, 0])
    chosen_N = (image_ND @ embed_prompts(model, tokenizer, captions).T).argmax(1)
    right: list[bool] = [
        looks[choice] == (scene.colour, scene.shape)
        for choice, scene in zip(chosen_N.tolist(), batch.scenes, strict=True)
    ]
    return sum(right) / len(right)


@torch.no_grad()
def preference_accuracy(
    model: CLIPModel, head: PreferenceHead, tokenizer: CLIPTokenizer, *, pairs: int, seed: int
) -> dict[str, float]:
    """How often the head prefers the good frame of new pairs, for each fault and over all."""
    drawn = draw_pairs(pairs, generator=torch.Generator().manual_seed(seed))
    text_ND = embed_prompts(model, tokenizer, drawn.prompts)
    better_N = head(embed_images(model, drawn.better_NCHW), text_ND)
    worse_N = head(embed_images(model, drawn.worse_NCHW), text_ND)
    right_N = (better_N > worse_N).float().cpu()
    names = [*augment.FAULTS, "another scene"]
    shares = {name: float(right_N[drawn.fault_N == i].mean()) for i, name in enumerate(names)}
    return {**shares, "all": float(right_N.mean())}


def train(run: training.Run) -> tuple[CLIPModel, PreferenceHead]:
    """Trains both and returns their averaged weights."""
    generator = run.generator()
    tokenizer = clip_tokenizer()
    model = architectures.clip_model().to(run.device)
    width = model.config.projection_dim
    head = PreferenceHead(embed_dim=width, hidden_dim=2 * width).to(run.device)
    averages = training.Average(model, decay=0.995), training.Average(head, decay=0.995)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=1e-2)

    def save() -> None:
        for part in (averages[0].net, averages[1].net, tokenizer, folders.clip_processor()):
            folders.save(part, run.out)

    reporter = training.Reporter(save)
    for step in training.steps(run):
        training.set_rate(optimizer, peak=_RATE, progress=step.progress)
        loss = step_loss(model, head, tokenizer, draw_pairs(_BATCH, generator=generator))
        training.descend(optimizer, loss, [model, head])
        averages[0].update(model)
        averages[1].update(head)
        reporter.note(step, loss)
    save()
    training.say(f"trained {step.number + 1} steps")
    return averages[0].net, averages[1].net


def main() -> None:
    run = training.start(training.parser(__doc__).parse_args(), steps=1500)
    model, head = train(run)
    tokenizer = clip_tokenizer()
    match = match_accuracy(model, tokenizer, frames=512, seed=run.seed + 1)
    training.say(f"caption among 18: {100 * match:.1f} %")
    for name, share in preference_accuracy(
        model, head, tokenizer, pairs=1024, seed=run.seed + 2
    ).items():
        training.say(f"preference, {name}: {100 * share:.1f} %")


if __name__ == "__main__":
    main()
