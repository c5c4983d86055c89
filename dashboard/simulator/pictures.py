"""A bottle with a cap, drawn: the picture a simulated result was never judged from."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageDraw

SIZE = (640, 480)
CAP = (230, 77, 410, 221)
"""The cap's region in pixels: x0, y0, x1, y1."""
BACKGROUNDS = ("#5d6a70", "#6b665c", "#56625a", "#65607a", "#4d5a66", "#6e6a6a", "#586b6b")


@lru_cache(maxsize=64)
def drawn(label: str, look: int) -> tuple[tuple[str, bytes, tuple[int, int]], ...]:
    """Frame and crop as (role, JPEG, size) of a part with a label; `look` 0 to 6 chooses the background."""
    picture = Image.new("RGB", SIZE, BACKGROUNDS[look % len(BACKGROUNDS)])
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 430, 640, 480), fill="#2b2f33")
    draw.rounded_rectangle((240, 190, 400, 435), radius=26, fill="#c7d3d8", outline="#8b9aa1", width=3)
    draw.rectangle((262, 270, 378, 360), fill="#f4f1e8", outline="#b9b3a2")
    draw.text((276, 300), "LINESIDE", fill="#39424a")
    if label != "missing":
        cap = Image.new("RGBA", (180, 110), (0, 0, 0, 0))
        ink = ImageDraw.Draw(cap)
        ink.rounded_rectangle((20, 20, 160, 96), radius=10, fill="#c8452f", outline="#7d2415", width=3)
        for x in range(30, 160, 14):
            ink.line((x, 30, x, 88), fill="#a33521", width=3)
        if label == "cracked":
            ink.line((60, 18, 84, 52, 70, 70, 98, 98), fill="#1d0d09", width=5)
        turned = cap.rotate(13 if label == "tilted" else 0, expand=False, resample=Image.Resampling.BICUBIC)
        picture.paste(turned, (230, 104), turned)
    else:
        draw.rectangle((288, 150, 352, 196), fill="#aebdc4", outline="#8b9aa1", width=3)
    crop = picture.crop(CAP)
    return tuple((role, _jpeg(image), image.size) for role, image in (("frame", picture), ("crop", crop)))


def _jpeg(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", quality=85)
    return written.getvalue()
