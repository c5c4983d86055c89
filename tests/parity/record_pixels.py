"""Records what the transformers processor (torchvision backend, its default) makes of pictures and clips.

Run by hand when the transformers pin moves: `python tests/parity/record_pixels.py`. The result is
`tests/engines/data/pixels.npz`, which tests read where neither torch nor transformers is installed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

TARGET = Path(__file__).parent.parent / "engines" / "data" / "pixels.npz"
NUMBERS = {
    "patch_size": 8,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": [0.5, 0.4, 0.45],
    "image_std": [0.5, 0.3, 0.25],
    "size": {"shortest_edge": 1024, "longest_edge": 4096},
}
PICTURES = ((48, 48), (100, 75), (20, 130), (9, 7), (64, 80))
CLIPS = ((4, 48, 40), (5, 30, 50))


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth picture with edges: [height, width, 3] uint8."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / generator.uniform(2, 9) + columns / generator.uniform(2, 9)) for _ in range(3)]
    edges = ((rows // 7 + columns // 5) % 2) * 60
    return np.clip(np.stack(waves, axis=-1) * 80 + 120 + edges[..., None], 0, 255).astype(np.uint8)


def clip(frames: int, height: int, width: int, seed: int) -> np.ndarray:
    """[frames, height, width, 3] uint8."""
    return np.stack([picture(height, width, seed + frame) for frame in range(frames)])


def import_torchvision() -> None:
    """Imports torchvision, also one built for another torch: resizing needs no compiled operator."""
    register = torch.library.register_fake
    torch.library.register_fake = lambda *_args, **_kwargs: lambda function: function
    try:
        import torchvision  # noqa: F401
    finally:
        torch.library.register_fake = register


def main() -> None:
    """Writes the reference file."""
    import_torchvision()
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    arrays: dict[str, np.ndarray] = {}
    for index, (height, width) in enumerate(PICTURES):
        out = Qwen2VLImageProcessor(**NUMBERS)(picture(height, width, index), return_tensors="pt")
        arrays[f"picture.{index}.values"] = out["pixel_values"].numpy()
        arrays[f"picture.{index}.grid"] = out["image_grid_thw"].numpy()[0]
    for index, (frames, height, width) in enumerate(CLIPS):
        processor = Qwen3VLVideoProcessor(**NUMBERS, cap_pixels_per_frame=False)
        video = torch.from_numpy(clip(frames, height, width, 50 + index).transpose(0, 3, 1, 2).copy())
        out = processor([video], do_sample_frames=False, return_tensors="pt")
        arrays[f"clip.{index}.values"] = out["pixel_values_videos"].numpy()
        arrays[f"clip.{index}.grid"] = out["video_grid_thw"].numpy()[0]
    TARGET.parent.mkdir(exist_ok=True)
    np.savez_compressed(TARGET, **arrays)


if __name__ == "__main__":
    main()
