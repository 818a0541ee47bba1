"""The labels, matching and loss from which the object rewards' detector learns."""

from __future__ import annotations

import torch

from vader_core.tiny import folders, pictures, train_detector, world


def _labels() -> train_detector.Labels:
    """A frame with a circle on the left and a square on the right."""
    class_NOK = torch.tensor([[[0.95, 0, 0, 0.05], [0, 0.95, 0, 0.05]]])
    box_NO4 = torch.tensor([[[0.25, 0.5, 0.2, 0.2], [0.75, 0.5, 0.2, 0.2]]])
    return train_detector.Labels(class_NOK, box_NO4)


def test_faint_and_mixed_objects_get_soft_labels() -> None:
    shown = pictures.draw(256, generator=torch.Generator().manual_seed(1))
    labels = train_detector.soft_labels(shown, torch.zeros(256, dtype=torch.long))
    nothing_NO = labels.class_NOK[..., -1]
    assert torch.allclose(labels.class_NOK.sum(-1), torch.ones(256, 2))
    assert (nothing_NO[shown.opacity_BO == 0] == 1).all()
    assert torch.allclose(nothing_NO[shown.opacity_BO == 1], torch.tensor(0.05), atol=1e-5)
    faint = (shown.opacity_BO > 0.1) & (shown.opacity_BO < 0.6)
    assert ((nothing_NO[faint] > 0.1) & (nothing_NO[faint] < 0.9)).all()


def test_two_objects_are_matched_with_two_tokens_even_if_one_token_fits_both_best() -> None:
    cost_NQO = torch.tensor([[[0.0, 0.0], [5.0, 1.0], [9.0, 9.0]]])
    assert train_detector.match(cost_NQO).tolist() == [[0, 1]]


def test_the_loss_is_least_for_the_right_answer_in_any_order_of_tokens() -> None:
    labels = _labels()
    right = torch.cat([labels.class_NOK, torch.tensor([[[0.001, 0.001, 0.001, 0.997]]])], 1).log()
    right = right.clamp(min=-9)
    boxes = torch.cat([labels.box_NO4, torch.full((1, 1, 4), 0.5)], 1)
    best = train_detector.loss_of(right, boxes, labels)
    flipped = train_detector.loss_of(right.flip(1), boxes.flip(1), labels)
    assert torch.isclose(best, flipped)
    assert best < train_detector.loss_of(right.flip(1), boxes, labels)
    assert best < train_detector.loss_of(right, boxes + 0.05, labels)


def test_overlap_is_one_for_the_same_box_and_negative_for_distant_ones() -> None:
    box = torch.tensor([0.5, 0.5, 0.2, 0.4])
    half = torch.tensor([0.6, 0.5, 0.2, 0.4])
    far = torch.tensor([0.9, 0.1, 0.1, 0.1])
    assert torch.isclose(train_detector.overlap(box, box), torch.tensor(1.0))
    assert torch.isclose(train_detector.overlap(box, half), torch.tensor(1 / 3))
    assert train_detector.overlap(box, far) < 0


def test_pixels_are_what_the_image_processor_gives() -> None:
    frames = (torch.rand(2, 3, world.SIZE, world.SIZE) * 255).round()
    processed = folders.yolos_processor()(list(frames.byte().numpy()), return_tensors="pt")
    assert torch.allclose(
        train_detector.pixels(frames / 255), processed["pixel_values"].float(), atol=1e-5
    )
