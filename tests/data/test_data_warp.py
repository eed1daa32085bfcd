"""The affine crop against functions whose warped value is known exactly."""

import cv2
import numpy as np
import pytest

from genhmr.data.warp import decode_image, encode_jpeg, read_image, warp_square
from genhmr.types import UserError


def similarity(scale, angle, source_point, target_point):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = np.asarray(target_point, float) - turn @ np.asarray(source_point, float)
    return np.concatenate([turn, offset[:, None]], axis=1)


def ramp(height, width):
    """Channel 0 grows with x, channel 1 with y, both linear in continuous coordinates."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y, np.full_like(x, 128)], axis=-1).round().astype(np.uint8)


def test_identity_and_whole_pixel_shift_are_exact():
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_square(image, np.eye(3)[:2], 40), image)
    shifted = warp_square(image, np.array([[1, 0, -7.0], [0, 1, -5.0]]), 20)
    np.testing.assert_array_equal(shifted, image[5:25, 7:27])


@pytest.mark.parametrize("scale, angle", [(1.0, 0.4), (1.7, -1.1), (0.5, 0.0), (0.37, 0.7)])
def test_linear_pictures_are_resampled_without_a_shift(scale, angle):
    size = 32
    matrix = similarity(scale, angle, (100.3, 110.8), (size / 2, size / 2))
    crop = warp_square(ramp(220, 220), matrix, size).astype(float)
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    expected = np.einsum("ij,hwj->hwi", inverse[:2], np.stack([x, y, np.ones_like(x)], axis=-1))
    # The ramp is stored in whole numbers and OpenCV interpolates in 1/32 pixel.
    assert np.abs(crop[..., :2] - expected).max() < 1.2
    assert np.abs((crop[..., :2] - expected).mean(axis=(0, 1))).max() < 0.6


def test_shrinking_by_four_is_the_mean_of_blocks():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    crop = warp_square(image, np.array([[0.25, 0, 0], [0, 0.25, 0]]), 16)
    blocks = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(crop[1:-1, 1:-1] - blocks[1:-1, 1:-1]).max() <= 0.51


def test_fine_texture_does_not_alias():
    board = (np.indices((300, 300)).sum(axis=0) % 2 * 255).astype(np.uint8)
    image = np.repeat(board[..., None], 3, axis=2)
    matrix = similarity(0.3, 0.3, (150, 150), (20, 20))
    crop = warp_square(image, matrix, 40)
    plain = cv2.warpAffine(image, matrix, (40, 40))
    assert crop.std() < 8 < 40 < plain.std()
    assert abs(crop.mean() - 127.5) < 3


def test_beyond_the_image_is_black():
    image = np.full((30, 30, 3), 200, np.uint8)
    far = warp_square(image, np.array([[0.5, 0, -500.0], [0, 0.5, 0]]), 10)
    assert (far == 0).all()
    half = warp_square(image, np.array([[1, 0, 5.0], [0, 1, 0]]), 10)
    assert (half[:, :5] == 0).all() and (half[:, 5:] == 200).all()


def test_output_buffer_is_filled():
    image = ramp(50, 50)
    for scale in (1.0, 0.4):
        matrix = similarity(scale, 0.1, (25, 25), (8, 8))
        out = np.zeros((3, 16, 16, 3), np.uint8)
        warp_square(image, matrix, 16, out[1])
        np.testing.assert_array_equal(out[1], warp_square(image, matrix, 16))


def test_jpeg_round_trip_keeps_red_red(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 220
    decoded = decode_image(encode_jpeg(image, 95), "memory")
    assert np.abs(decoded.astype(int) - image).max() < 8


def test_every_truncation_of_a_jpeg_is_noticed(tmp_path):
    image = np.random.default_rng(2).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode_jpeg(image, 90)
    path = tmp_path / "cut.jpg"
    for length in (0, 1, 10, 300, len(data) // 2, len(data) - 2):
        path.write_bytes(data[:length])
        with pytest.raises(UserError, match="cut.jpg"):
            read_image(path)
    path.write_bytes(data + b"\0" * 100)  # a trailer is harmless
    assert read_image(path).shape == (64, 64, 3)


def test_missing_image_names_the_file(tmp_path):
    with pytest.raises(UserError, match="gone.jpg.*unpack"):
        read_image(tmp_path / "gone.jpg")
