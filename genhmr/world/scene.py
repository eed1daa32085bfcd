"""A stage with people on it, photographed by a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .appearance import Appearance
from .background import Place, draw_place, sample_place
from .camera import Camera
from .lighting import Lighting, sample_lighting
from .people import Wardrobe
from .props import in_camera, sample_furniture
from .render import Cover, Mesh, Picture, cover, paint

# How far behind the visible surface a BODY_25 joint may lie, metres, and still count as seen:
# joints are inside the body, by about half the thickness of the limb; face and feet are on it.
_THICKNESS = np.array(
    [0.05, 0.13, 0.13, 0.09, 0.07, 0.13, 0.09, 0.07, 0.18, 0.16, 0.11, 0.09, 0.16, 0.11, 0.09,
     0.04, 0.04, 0.04, 0.04, 0.06, 0.06, 0.06, 0.06, 0.06, 0.06], np.float32)


@dataclass(frozen=True)
class Actor:
    """One dressed person in the world frame.

    Attributes:
        mesh: the dressed surface with its colours and part labels; world frame.
        joints: (24, 3) metres, world.
    """

    mesh: Mesh
    joints: np.ndarray


@dataclass(frozen=True)
class Stage:
    """Where a picture is taken.

    Attributes:
        place: floor, walls and sky.
        lighting: of the place.
        furniture: meshes in the world frame that stay where they are.
    """

    place: Place
    lighting: Lighting
    furniture: tuple[Mesh, ...]


def make_actor(
    wardrobe: Wardrobe, vertices: np.ndarray, joints: np.ndarray, look: Appearance
) -> Actor:
    """Dress (V, 3) posed vertices, world frame, with a look."""
    mesh = Mesh(wardrobe.dress(vertices, look), wardrobe.faces, look.albedo, wardrobe.parts)
    return Actor(mesh, joints)


def sample_stage(rng: np.random.Generator, textures: int, indoor: bool, clear: float) -> Stage:
    """A random stage.

    Args:
        rng: the only source of chance.
        textures: number of patterns in the bank.
        indoor: a room or an open place.
        clear: radius in metres around the origin that furniture leaves free.
    """
    place = sample_place(rng, textures, indoor)
    farthest = float(place.half_size.min()) if indoor else clear + 8.0
    furniture = sample_furniture(rng, int(rng.integers(0, 6)), clear, farthest)
    return Stage(place, sample_lighting(rng, indoor), tuple(furniture))


def clear_view(stage: Stage, camera: Camera, joints: np.ndarray) -> Stage:
    """The stage without furniture that stands nearer than a person's farthest joint.

    What hides people is placed on purpose, as an occluder; furniture is background.
    """
    depth = camera.to_camera(joints)[:, 2].max()
    kept = tuple(m for m in stage.furniture if camera.to_camera(m.vertices)[:, 2].min() > depth)
    return Stage(stage.place, stage.lighting, kept)


@dataclass(frozen=True)
class View:
    """People on a stage before a camera, not photographed yet: who is seen is known already.

    Attributes:
        actors: who is there.
        stage: where.
        camera: from where.
        matrix: (3, 3) camera frame to pixels.
        cover: the nearest surfaces; its meshes are the actors', then the things.
    """

    actors: tuple[Actor, ...]
    stage: Stage
    camera: Camera
    matrix: np.ndarray
    cover: Cover

    @property
    def visible(self) -> tuple[float, ...]:
        """One number per actor, see `genhmr.world.render.Picture`."""
        return self.cover.visible[: len(self.actors)]


def view_of(
    actors: Sequence[Actor],
    stage: Stage,
    occluders: Sequence[Mesh],
    camera: Camera,
    matrix: np.ndarray,
    width: int,
    height: int,
) -> View:
    """Look at people on a stage.

    Args:
        actors: who is there; at least one. Only the first keeps part labels and normals.
        stage: where.
        occluders: world-frame meshes in front of the people.
        camera: from where.
        matrix: (3, 3) camera frame to pixels: the camera's intrinsics, or a crop of its frame.
        width: of the picture, pixels.
        height: of the picture, pixels.
    """
    meshes = [in_camera(actor.mesh, camera) for actor in actors]
    meshes = meshes[:1] + [_unlabelled(mesh) for mesh in meshes[1:]]
    things = [in_camera(mesh, camera) for mesh in (*stage.furniture, *occluders)]
    if things:
        meshes.append(_joined(things))
    return View(tuple(actors), stage, camera, matrix, cover(meshes, matrix, width, height))


def photograph_view(view: View, textures: np.ndarray) -> Picture:
    """Photograph what is looked at.

    Args:
        view: see :func:`view_of`.
        textures: the texture bank.

    Returns:
        The picture; ``visible`` has one number per actor.
    """
    lighting, (height, width) = view.stage.lighting, view.cover.depth.shape
    shadows = np.concatenate([_shadows(actor, lighting) for actor in view.actors])
    background = draw_place(view.stage.place, view.camera, textures, view.matrix, width, height,
                            lighting.on_surfaces, shadows, view.cover.full)
    picture = paint(view.cover, lighting.seen_by(view.camera), background)
    normals = np.where(picture.parts[..., None] > 0, picture.normals, np.float32(0))
    return Picture(picture.image, picture.parts, normals, picture.depth, view.visible)


def keypoint_visibility(
    keypoints: np.ndarray, pixels: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """Which BODY_25 keypoints a picture shows.

    Args:
        keypoints: (25, 3) metres, camera frame.
        pixels: (25, 2) where they fall.
        depth: (H, W) of the picture.

    Returns:
        (25,) float32: 1 visible, 0.5 inside the picture but hidden, 0 outside.
    """
    height, width = depth.shape
    column, row = np.floor(pixels[:, 0]).astype(int), np.floor(pixels[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (keypoints[:, 2] > 0)
    surface = depth[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    seen = surface > keypoints[:, 2] - _THICKNESS
    return np.where(inside, np.where(seen, 1.0, 0.5), 0.0).astype(np.float32)


def _shadows(actor, lighting):
    """Discs on the floor under the joints, displaced away from the sun; (24, 4)."""
    joints = actor.joints
    direction = lighting.direction
    shift = -joints[:, 1:2] * direction[[0, 2]] / max(direction[1], 0.2)
    radius = np.full((len(joints), 1), 0.13) + 0.08 * np.maximum(joints[:, 1:2], 0)
    hardness = float(np.mean(lighting.sun) / (np.mean(lighting.sun) + np.mean(lighting.sky)))
    darkness = 0.75 * hardness / (1 + 0.4 * np.maximum(joints[:, 1:2], 0)) + 0.1
    return np.concatenate([joints[:, [0, 2]] + shift, radius, darkness], 1)


def _unlabelled(mesh):
    return Mesh(mesh.vertices, mesh.faces, mesh.albedo, np.zeros_like(mesh.parts))


def _joined(meshes):
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.faces + np.int32(s) for mesh, s in zip(meshes, starts)]),
        np.concatenate([mesh.albedo for mesh in meshes]),
        np.concatenate([mesh.parts for mesh in meshes]),
    )
