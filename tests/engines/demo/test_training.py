"""The network and its training against transformers and against themselves (needs torch: `make parity`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: make parity")
pytest.importorskip("transformers", reason="training needs transformers: make parity")

from lineside.engines.demo.export import export, trained_network  # noqa: E402
from lineside.engines.demo.feed import draw_batch  # noqa: E402
from lineside.engines.demo.model import GRIDS, new_network  # noqa: E402
from lineside.engines.demo.muon import orthogonalised  # noqa: E402
from lineside.engines.demo.questions import QUESTIONS  # noqa: E402
from lineside.engines.demo.tokens import build_tokenizer, prompt_ids  # noqa: E402
from lineside.engines.demo.train import WARM_UP, Plan, Trainer, rate  # noqa: E402

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
TOKENIZER = build_tokenizer()
SMALL = {"cap": 2, "blister": 2, "code": 2}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_batched_forward_equals_transformers() -> None:
    network = new_network(TOKENIZER, 1)
    patches = torch.randn(3, 64, 384, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pictures = network.embed_pictures(patches, [q.region for q in QUESTIONS])
        for row, question in enumerate(QUESTIONS):
            ids = torch.tensor([[*prompt_ids(TOKENIZER, question), 5, 6, 7]])
            positions = network.positions(ids[0].tolist(), question.region)
            ours = network.model.lm_head(network.read(ids, pictures[row : row + 1], positions))
            theirs = network.model(
                input_ids=ids,
                pixel_values=patches[row],
                image_grid_thw=torch.tensor([GRIDS[question.region]]),
                mm_token_type_ids=(ids == network.model.config.image_token_id).int(),
            ).logits
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_muon_updates_have_nearly_equal_singular_values() -> None:
    matrices = torch.randn(2, 24, 40, generator=torch.Generator().manual_seed(0))

    values = torch.linalg.svdvals(orthogonalised(matrices))

    assert values.min() > 0.5
    assert values.max() < 1.5


def test_the_rate_warms_up_stays_and_ends_at_nothing() -> None:
    assert rate(0, 0.0) == 1 / WARM_UP
    assert rate(WARM_UP, 0.1) == 1.0
    assert rate(9999, 1.0) == 0.0


def test_training_resumes_where_it_stopped(tmp_path: Path) -> None:
    plan = Plan(tmp_path, seed=3, steps=8, minutes=1000.0, threads=1)
    lessons = [draw_batch(3, number, SMALL) for number in range(4)]
    straight = Trainer(plan)
    for batch in lessons:
        straight.learn(batch)

    stopped = Trainer(plan)
    for batch in lessons[:2]:
        stopped.learn(batch)
    stopped.save()
    resumed = Trainer(plan)
    resumed.load()
    assert resumed.step == 2
    for batch in lessons[2:]:
        resumed.learn(batch)

    for name, weight in straight.network.state_dict().items():
        torch.testing.assert_close(weight, resumed.network.state_dict()[name], msg=name)


def test_training_learns_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.engines.demo.train.WARM_UP", 1)
    trainer = Trainer(Plan(tmp_path, seed=3, steps=1000, minutes=1000.0, threads=1))
    batch = draw_batch(3, 0, SMALL)

    first = sum(trainer.learn(batch).values())
    for _ in range(12):
        last = sum(trainer.learn(batch).values())

    assert last < 0.7 * first


def test_the_exported_folder_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.engines.demo.familiar.BATCH", 8)
    trainer = Trainer(Plan(tmp_path / "run", seed=3, steps=8, minutes=1.0, threads=1))
    trainer.plan.out.mkdir()
    trainer.save()
    network, step = trained_network(trainer.plan.out)

    export(network, tmp_path / "model", parts=32)

    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert step == 0
    assert names >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "preprocessor_config.json", "generation_config.json", "familiarity.safetensors",
    }  # fmt: skip
    assert np.isfinite((tmp_path / "model" / "model.safetensors").stat().st_size)
