"""Light in the world frame, and how a camera turns light into an 8-bit picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from .camera import Camera
from .kernels import kernel
from .render import Light


@dataclass(frozen=True)
class Lighting:
    """A sun or lamp, a sky or ceiling, and light bounced by the floor; linear RGB.

    Attributes:
        direction: (3,) unit vector to the sun, world frame.
        sun: (3,) colour.
        sky: (3,) colour of light from above.
        ground: (3,) colour of light from below.
    """

    direction: np.ndarray
    sun: np.ndarray
    sky: np.ndarray
    ground: np.ndarray

    def seen_by(self, camera: Camera) -> Light:
        """The same light in a camera's frame."""
        rotation = camera.rotation
        return Light(rotation @ self.direction, rotation @ np.array([0.0, 1.0, 0.0]), self.sun,
                     self.sky, self.ground)

    @property
    def on_surfaces(self) -> np.ndarray:
        """(3,) what walls and floors receive on average."""
        return 0.5 * self.sun + self.sky * 0.6 + self.ground * 0.3


def sample_lighting(rng: np.random.Generator, indoor: bool) -> Lighting:
    """Random daylight or lamp light; warm to cold, hard to soft, bright to dim.

    Args:
        rng: the only source of chance.
        indoor: softer, less coloured from above.
    """
    azimuth = rng.uniform(0, 2 * np.pi)
    elevation = rng.uniform(0.25, 1.35)
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.sin(elevation),
                          np.cos(elevation) * np.sin(azimuth)])
    warmth = rng.uniform(-0.18, 0.22)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    hardness = rng.uniform(0.1, 0.6) if indoor else rng.uniform(0.05, 0.8)
    total = rng.uniform(0.85, 1.6)
    sky = np.array([0.9, 0.97, 1.1]) if not indoor else np.ones(3)
    ground = rng.uniform(0.15, 0.5) * np.array([1.1, 1.0, 0.9])
    ambient = 1 - 0.6 * hardness
    return Lighting(direction, total * hardness * 1.5 * white, total * ambient * 0.85 * sky * white,
                    total * ambient * ground * white)


def sample_panorama_lighting(rng: np.random.Generator) -> Lighting:
    """Light as photographed panoramas (HDRIs) cast it: any hour, any sky, coloured surroundings.

    More extreme than `sample_lighting`: low and red suns, blue or grey skies, light that a
    coloured floor, foliage or stage lamps throw, from no shadow at all to the hardest.

    Args:
        rng: the only source of chance.
    """
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.4)
    direction = np.array([np.cos(elevation) * np.cos(azimuth), np.sin(elevation),
                          np.cos(elevation) * np.sin(azimuth)])
    warmth = 0.4 * np.exp(-elevation / 0.3) + rng.normal(0, 0.06)
    sun = np.array([1 + warmth, 1.0, 1 - 1.3 * warmth]).clip(0.2)
    tint = 0.3 if rng.random() < 0.25 else 0.08
    sky = (np.array([0.93, 0.98, 1.08]) + rng.normal(0, tint, 3)).clip(0.3)
    ground = (np.array([1.05, 1.0, 0.92]) + rng.normal(0, tint, 3)).clip(0.3)
    hardness, total = rng.uniform(0.0, 0.9), np.exp(rng.uniform(np.log(0.75), np.log(1.8)))
    ambient = 1 - 0.65 * hardness
    return Lighting(direction, total * hardness * 1.5 * sun, total * ambient * 0.85 * sky,
                    total * ambient * rng.uniform(0.15, 0.6) * ground)


@dataclass(frozen=True)
class Development:
    """How the camera renders light as numbers.

    Attributes:
        exposure: factor on the light.
        contrast: exponent around middle grey, 1 leaves it.
        noise: standard deviation, 8-bit steps.
        blur: Gaussian standard deviation in pixels, 0 for none.
        motion: (2,) pixels the picture moves while the shutter is open.
        quality: JPEG quality the picture goes through, 0 for none.
    """

    exposure: float
    contrast: float
    noise: float
    blur: float
    motion: tuple[float, float]
    quality: int


def sample_development(rng: np.random.Generator, harshness: float) -> Development:
    """Random camera settings.

    Args:
        rng: the only source of chance.
        harshness: 0 a laboratory camera, 1 a phone in bad light.
    """
    moving = rng.random() < 0.2 * harshness
    motion = rng.normal(0, 1.5 * harshness, 2) if moving else np.zeros(2)
    return Development(
        exposure=float(np.exp(rng.normal(0, 0.1 + 0.25 * harshness))),
        contrast=float(np.exp(rng.normal(0, 0.05 + 0.12 * harshness))),
        noise=float(rng.uniform(0.5, 1.5 + 8 * harshness)),
        blur=float(rng.uniform(0.3, 0.9) if rng.random() < 0.3 * harshness else 0.0),
        motion=(float(motion[0]), float(motion[1])),
        quality=int(rng.integers(40, 96)) if rng.random() < 0.5 * harshness else 0,
    )


# Byte to normal deviate: random bytes are much cheaper than normal deviates.
_NORMAL = ndtri((np.arange(256) + 0.5) / 256).astype(np.float32)
_GAMMA = np.linspace(0, 1, 4096, dtype=np.float32) ** np.float32(1 / 2.2)


def develop(image: np.ndarray, settings: Development, rng: np.random.Generator) -> np.ndarray:
    """Expose, blur, add noise and quantise.

    Args:
        image: (H, W, 3) float32 linear RGB.
        settings: of the camera.
        rng: of the noise.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    if settings.blur:
        image = cv2.GaussianBlur(image, (0, 0), settings.blur)
    length = float(np.hypot(*settings.motion))
    if length > 0.7:
        image = cv2.filter2D(image, -1, _motion_kernel(settings.motion))
    noise = rng.integers(0, 256, image.shape, np.uint8)
    picture = np.empty(image.shape, np.uint8)
    _expose(image, np.float32(settings.exposure), np.float32(settings.contrast), noise,
            _NORMAL * np.float32(settings.noise), _GAMMA, picture)
    if settings.quality:
        encoded = cv2.imencode(".jpg", picture[..., ::-1],
                               [cv2.IMWRITE_JPEG_QUALITY, settings.quality])[1]
        picture = np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
    return picture


@kernel
def _expose(image, exposure, contrast, noise, normal, gamma, picture):
    top, half, scale = gamma.shape[0] - 1, np.float32(127.5), np.float32(255)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for k in range(3):
                level = image[y, x, k] * exposure
                # A shoulder instead of hard clipping, as film and phones have it.
                level = level * (np.float32(1) + level * np.float32(0.12)) / (
                    np.float32(1) + level * np.float32(0.45))
                tone = gamma[int(min(max(level, np.float32(0)), np.float32(1)) * top)] * scale
                tone = half + (tone - half) * contrast + normal[noise[y, x, k]]
                picture[y, x, k] = np.uint8(min(max(tone + np.float32(0.5), np.float32(0)), scale))


def _motion_kernel(motion):
    size = 2 * int(np.ceil(np.hypot(*motion) / 2)) + 3
    kernel = np.zeros((size, size), np.float32)
    for t in np.linspace(-0.5, 0.5, 21):
        kernel[int(round(size // 2 + t * motion[1])), int(round(size // 2 + t * motion[0]))] += 1
    return kernel / kernel.sum()
