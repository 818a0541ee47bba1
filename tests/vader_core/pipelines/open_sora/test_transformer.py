"""STDiT3 computes what its description says, and holds the tensors that were published."""

from __future__ import annotations

import pytest
import torch

from tests.vader_core.conformance.models_open_sora import TEXT_WIDTH, TOKENS, denoiser, stirred
from tests.vader_core.pipelines.open_sora import published
from vader_core.pipelines.open_sora import OpenSoraTransformer3DModel

# Facts of hpcai-tech/OpenSora-STDiT-v3's model.safetensors.
PUBLISHED_TENSORS, PUBLISHED_NUMBERS = 973, 1_208_872_772


def published_shapes(depth: int = 28, width: int = 1152, heads: int = 16) -> dict[str, list[int]]:
    """Names and shapes of the published file, from the constructors of the published classes."""

    def linear(name: str, into: int, out: int) -> dict[str, list[int]]:
        return {f"{name}.weight": [out, into], f"{name}.bias": [out]}

    shapes = {
        "rope.freqs": [width // heads // 2],
        "y_embedder.y_embedding": [300, 4096],
        "x_embedder.proj.weight": [width, 4, 1, 2, 2],
        "x_embedder.proj.bias": [width],
        "final_layer.scale_shift_table": [2, width],
        **linear("final_layer.linear", width, 32),
        **linear("t_block.1", width, 6 * width),
        **linear("y_embedder.y_proj.fc1", 4096, width),
        **linear("y_embedder.y_proj.fc2", width, width),
    }
    for embedder in ("t_embedder", "fps_embedder"):
        shapes |= linear(f"{embedder}.mlp.0", 256, width) | linear(
            f"{embedder}.mlp.2", width, width
        )
    for place in [f"{kind}_blocks.{i}" for kind in ("spatial", "temporal") for i in range(depth)]:
        shapes |= {
            f"{place}.scale_shift_table": [6, width],
            f"{place}.attn.q_norm.weight": [width // heads],
            f"{place}.attn.k_norm.weight": [width // heads],
            **linear(f"{place}.attn.qkv", width, 3 * width),
            **linear(f"{place}.attn.proj", width, width),
            **linear(f"{place}.cross_attn.q_linear", width, width),
            **linear(f"{place}.cross_attn.kv_linear", width, 2 * width),
            **linear(f"{place}.cross_attn.proj", width, width),
            **linear(f"{place}.mlp.fc1", width, 4 * width),
            **linear(f"{place}.mlp.fc2", 4 * width, width),
        }
    return shapes


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        model = OpenSoraTransformer3DModel()
    held = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert held == published_shapes()
    assert len(held) == PUBLISHED_TENSORS
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == PUBLISHED_NUMBERS


@pytest.mark.parametrize(("height", "width"), [(4, 6), (5, 3)])
def test_a_prediction_equals_the_plain_evaluation(height: int, width: int) -> None:
    """Two videos at different times with texts of different lengths; odd sizes are filled up."""
    model = stirred(denoiser(), 1).double()
    drawn = torch.Generator().manual_seed(0)
    latents = torch.randn((2, 4, 3, height, width), generator=drawn, dtype=torch.float64)
    text = torch.randn((2, TOKENS, TEXT_WIDTH), generator=drawn, dtype=torch.float64)
    mask = torch.arange(TOKENS) < torch.tensor([[4], [9]])
    times = torch.tensor([987.5, 31.25], dtype=torch.float64)
    size = {"fps": 24, "height": 4 * height, "width": 4 * width}
    predicted = model(latents, times, text, mask, **size, return_dict=False)[0]
    weights = model.state_dict()
    for video in range(2):
        condition = published.Condition(times[video].item(), text[video][mask[video]], **size)
        plain = published.denoiser(weights, latents[video], condition, heads=2, base_size=16)
        assert predicted.dtype == torch.float64
        # The angles of times are float32 in the model, and reach 987 radians.
        assert torch.allclose(predicted[video], plain, atol=1e-4)


def test_padding_tokens_have_no_effect() -> None:
    model = stirred(denoiser(), 1)
    latents, text = torch.randn(1, 4, 2, 4, 4), torch.randn(1, TOKENS, TEXT_WIDTH)
    size = {"fps": 24, "height": 16, "width": 16}
    mask = torch.arange(TOKENS)[None] < 3
    other = torch.where(mask[..., None], text, 7.0)
    results = [
        model(latents, torch.tensor([500.0]), one, mask, **size).sample for one in (text, other)
    ]
    assert torch.equal(*results)
    short = model(latents, torch.tensor([500.0]), text[:, :3], **size).sample
    assert torch.allclose(results[0], short, atol=1e-6)


def test_weights_in_bf16_round_times_and_frequencies_and_predict_in_float32() -> None:
    model = stirred(denoiser(), 1).to(torch.bfloat16)
    assert model.rope.freqs.dtype == torch.bfloat16
    latents, text = torch.randn(1, 4, 2, 4, 4), torch.randn(1, TOKENS, TEXT_WIDTH)
    size = {"fps": 24, "height": 16, "width": 16}
    exact, rounded = (
        model(latents, torch.tensor([time]), text, **size).sample for time in (987.3, 988.0)
    )
    assert exact.dtype == torch.float32
    assert torch.equal(exact, rounded)
