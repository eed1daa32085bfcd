"""Stage `backbone`: pre-train the ViT on rendered people, import a published one, or export ours.

It ends in a folder of safetensors beside ``history.json``; the dense set and the checkpoint lie in
the scratch folder, which DVC does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.stage import (
    export_shipped,
    pick_device,
    scratch_folder,
    whole_folder,
    write_history,
)
from genhmr.image.pretrained import import_vitpose
from genhmr.image.vit import ViTBackbone, ViTConfig
from genhmr.precision import fast_bfloat16
from genhmr.train import parallel
from genhmr.train.checkpoint import BACKBONE_FILE, save_weights
from genhmr.train.pretrain import pretrain_backbone
from genhmr.world.dense import dense_dataset

Json = dict[str, Any]
BODY, MOTION = Path("datasets/open/body"), Path("datasets/open/motion")


def backbone_config(job: Json) -> ViTConfig:
    """The backbone that a job of the plan describes."""
    sizes = job["model"]
    return ViTConfig(
        tuple(job["image_size"]),
        sizes["patch"],
        sizes["dim"],
        sizes["depth"],
        sizes["heads"],
        drop_path=sizes["drop_path"],
        stem=sizes["stem"],
        patch_padding=sizes["patch_padding"],
    )


def make_backbone(job: Json, out: Path, scratch: Path) -> None:
    """Pre-trains the backbone on rendered people, imports a published one, or exports the shipped.

    Args:
        job: ``build/plan/backbone/base.json``.
        out: folder of ``backbone.safetensors``.
        scratch: dense set and checkpoint.

    Raises:
        UserError: the file to import or to export is missing or of other sizes.
    """
    device, config = pick_device(job["device"]), backbone_config(job)
    sizes = ViTBackbone.from_config(config).to_dict()
    if job["weights"]:
        with whole_folder(out) as part:
            export_shipped(job["weights"], part / BACKBONE_FILE, sizes, "backbone")
        return
    if job["import"]:
        with whole_folder(out) as part:
            tensors = import_vitpose(Path(job["import"]), config).state_dict()
            named = {f"backbone.{name}": tensor for name, tensor in tensors.items()}
            about = {"kind": "backbone", "backbone": sizes, "imported": job["import"]}
            save_weights(part / BACKBONE_FILE, named, about)
        return
    parallel.join(device)
    train = job["train"]
    shipped = [path for folder in (BODY, MOTION) for path in sorted(folder.rglob("*.npz"))]
    with whole_folder(out) as part, scratch_folder(scratch, job, shipped) as folder:
        with parallel.leader_first():
            if not (folder / "dense").exists():  # it appears only when it is complete
                dense_dataset(
                    folder / "dense",
                    train["images"],
                    job["image_size"][0],
                    job["seed"],
                    body=BODY,
                    motion=MOTION,
                )
        history = pretrain_backbone(
            folder / "dense",
            folder / "backbone",
            part / BACKBONE_FILE,
            config,
            pyramid_dim=train["features"],
            steps=train["steps"],
            batch_size=train["batch"],
            lr=train["lr"],
            warmup=min(200, train["steps"] // 10),
            seed=job["seed"],
            device=device,
            bf16=fast_bfloat16(device, config.dim),
        )
        if parallel.rank() == 0:
            write_history(part, history)
    parallel.leave()
