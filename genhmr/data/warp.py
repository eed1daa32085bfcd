"""Square crops by one affine map, without aliasing; everything that decodes or encodes a JPEG.

Coordinates are continuous: pixel (column i, row j) covers [i, i+1) x [j, j+1), so a picture of
width W spans [0, W] and resizing is a plain multiplication. OpenCV counts from pixel centres;
the half pixel is put in and taken out here and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from genhmr.types import UserError

_ALIASING = 1.05  # shrinking by more than this goes through an area average first
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_TRAILER = 4096  # bytes that a camera may append after the end marker


def _centred(matrix: np.ndarray) -> np.ndarray:
    """The map between pixel centres that a map (2, 3) of continuous coordinates induces."""
    centred = matrix.copy()
    centred[:, 2] += 0.5 * (matrix[:, 0] + matrix[:, 1]) - 0.5
    return centred


def _shrink_factor(matrix: np.ndarray) -> float:
    """Source pixels per target pixel of a similarity (2, 3)."""
    linear = matrix[:, :2]
    return 1.0 / np.sqrt(abs(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0]))


def _shrunk_region(
    image: np.ndarray, matrix: np.ndarray, size: int, shrink: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of the image that the crop sees, area-averaged, and the map from there."""
    to_source = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]]) @ to_source.T
    margin = 2.0 * shrink
    x0, y0 = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
    x1, y1 = np.ceil(corners.max(axis=0) + margin).astype(int)
    region = image[y0 : max(y1, 0), x0 : max(x1, 0)]
    height, width = region.shape[:2]
    if height == 0 or width == 0:
        return None
    small_width, small_height = max(1, round(width / shrink)), max(1, round(height / shrink))
    small = cv2.resize(region, (small_width, small_height), interpolation=cv2.INTER_AREA)
    # Continuous map from the averaged region to the crop.
    scale = np.array([width / small_width, height / small_height])
    from_small = matrix.copy()
    from_small[:, :2] *= scale
    from_small[:, 2] += matrix[:, :2] @ np.array([x0, y0], float)
    return small, from_small


def warp_square(
    image: np.ndarray, matrix: np.ndarray, size: int, out: np.ndarray | None = None
) -> np.ndarray:
    """Resamples an image into a square crop; black where the image ends.

    Bilinear; where the map shrinks, the region is area-averaged to the crop's resolution first,
    which a bilinear warp alone leaves out (4D-Humans blurs the whole frame instead).

    Args:
        image: (H, W, 3) uint8.
        matrix: (2, 3) similarity, continuous image coordinates to continuous crop coordinates.
        size: side of the crop in pixels.
        out: (size, size, 3) uint8 to write into.

    Returns:
        (size, size, 3) uint8, ``out`` where given.
    """
    if out is None:
        out = np.empty((size, size, 3), np.uint8)
    matrix = np.asarray(matrix, np.float64)
    shrink = _shrink_factor(matrix)
    if shrink > _ALIASING:
        shrunk = _shrunk_region(image, matrix, size, shrink)
        if shrunk is None:
            out[:] = 0
            return out
        image, matrix = shrunk
    return cv2.warpAffine(
        image, _centred(matrix), (size, size), dst=out, flags=cv2.INTER_LINEAR, borderValue=0
    )


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """JPEG bytes of an (H, W, 3) uint8 RGB image; the same image gives the same bytes."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the image could not be encoded as JPEG")
    return data.tobytes()


def decode_image(data: np.ndarray | bytes, path: Path | str) -> np.ndarray:
    """(H, W, 3) uint8 RGB, the orientation flag ignored as annotations do.

    Args:
        data: bytes of a JPEG or PNG file.
        path: file named in a complaint.

    Raises:
        UserError: the bytes are no whole image.
    """
    array = np.frombuffer(data, np.uint8)
    head, tail = array[:2].tobytes(), array[-_TRAILER:].tobytes()
    # OpenCV fills the missing part of a truncated JPEG with grey and returns it as good.
    truncated = head == _JPEG_START and _JPEG_END not in tail
    image = None
    if len(array) and not truncated:
        image = cv2.imdecode(array, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        reason = "truncated" if truncated else "no readable image"
        raise UserError(f"{path} is {reason}: fetch that file again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_image(path: Path) -> np.ndarray:
    """Reads an image file as (H, W, 3) uint8 RGB.

    Raises:
        UserError: the file is missing, truncated or no image.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing: unpack the images of the data set beside its annotations."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): fix the file.") from error
    return decode_image(data, path)
