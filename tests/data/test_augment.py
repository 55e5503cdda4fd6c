import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mnist_jax.config import Augment
from mnist_jax.data import augment as module
from mnist_jax.data.augment import enabled

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")


def compiled(config):
    return jax.jit(lambda images, keys: module.augment(images, keys, config))


def augment(images, keys, config):
    return compiled(config)(images, keys)


EVERYTHING = Augment(rotation=20.0, translation=3.0, scale=0.2, shear=10.0, elastic=1.5)


def noise(size: int) -> jax.Array:
    pixels = np.random.default_rng(0).uniform(size=(size, 28, 28, 1))
    return jnp.asarray(pixels, jnp.float32)


def square(side: int) -> jax.Array:
    """An image with a bright square in its middle."""
    image = np.zeros((1, 28, 28, 1), np.float32)
    edge = (28 - side) // 2
    image[:, edge : 28 - edge, edge : 28 - edge] = 1.0
    return jnp.asarray(image)


def keys(count: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


@pytest.fixture(params=[1.0, -1.0], ids=["largest", "smallest"])
def extreme(request, monkeypatch):
    """Every uniform draw is at this end of its range."""
    draw = lambda key, shape, **limits: jnp.full(shape, request.param)  # noqa: E731
    monkeypatch.setattr(jax.random, "uniform", draw)
    return request.param


def test_off_by_default_and_on_where_anything_is_configured():
    assert not enabled(Augment())
    assert not enabled(Augment(elastic_sigma=2.0))
    for field in ("rotation", "translation", "scale", "shear", "elastic"):
        assert enabled(Augment(**{field: 0.1}))


def test_ranges_of_zero_change_nothing():
    images = noise(4)
    np.testing.assert_allclose(augment(images, keys(4), Augment()), images, rtol=0, atol=1e-6)


def test_a_translation_by_whole_pixels_is_a_shift(extreme):
    images = noise(2)
    moved = augment(images, keys(2), Augment(translation=3.0))
    expected = np.zeros_like(images)
    inner, outer = slice(None, -3), slice(3, None)
    target, source = (inner, outer) if extreme > 0 else (outer, inner)
    expected[:, target, target] = images[:, source, source]
    np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-5)


def test_a_rotation_by_a_right_angle_is_exact(extreme):
    images = noise(2)
    turned = augment(images, keys(2), Augment(rotation=90.0))
    expected = np.rot90(images, k=int(extreme), axes=(1, 2))
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-4)


def test_a_rotation_keeps_the_mass():
    turned = augment(jnp.tile(square(10), (64, 1, 1, 1)), keys(64), Augment(rotation=90.0))
    np.testing.assert_allclose(turned.sum((1, 2, 3)), np.full(64, 100.0), rtol=0.03)


def test_a_shear_keeps_the_mass_and_moves_it(extreme):
    sheared = augment(square(10), keys(1), Augment(shear=20.0))
    assert float(sheared.sum()) == pytest.approx(100.0, rel=0.03)
    assert float(jnp.abs(sheared - square(10)).sum()) > 10.0


def test_a_scale_enlarges_or_shrinks_both_axes(extreme):
    scaled = augment(square(10), keys(1), Augment(scale=0.3))
    side = 10.0 * (1.0 + 0.3 * extreme)
    assert float(scaled.sum()) == pytest.approx(side**2, rel=0.05)
    for axis in (1, 2):
        assert float(scaled.max(axis=axis).sum()) == pytest.approx(side, abs=1.0)


def test_what_comes_from_outside_the_image_is_zero(extreme):
    assert not np.any(augment(noise(2), keys(2), Augment(translation=40.0)))


@pytest.mark.parametrize("axis", [1, 2], ids=["rows", "columns"])
@pytest.mark.parametrize(("deviation", "sigma"), [(0.5, 4.0), (1.5, 4.0), (1.0, 6.0)])
def test_elastic_displacements_have_the_stated_deviation_and_are_smooth(axis, deviation, sigma):
    """Of an image whose values are their own row or column, reading it shows the displacement."""
    ramp = np.moveaxis(np.broadcast_to(np.arange(28.0, dtype=np.float32), (1000, 1, 28, 28)), 1, -1)
    ramp = jnp.asarray(ramp if axis == 2 else ramp.swapaxes(1, 2))
    moved = augment(ramp, keys(1000), Augment(elastic=deviation, elastic_sigma=sigma))
    displacement = np.asarray(moved - ramp)[:, 8:20, 8:20]  # nothing is read from outside
    # About four independent values an image: the deviation is known to 1.5 %.
    assert displacement.std() == pytest.approx(deviation, rel=0.05)
    assert abs(displacement.mean()) < 0.05 * deviation
    for neighbour in (1, 2):
        assert np.diff(displacement, axis=neighbour).std() < 1.5 / sigma * deviation


@pytest.mark.parametrize("config", [EVERYTHING, Augment(rotation=15.0)])
def test_an_example_is_distorted_by_its_own_key_alone(config):
    images, distort = noise(8), compiled(config)
    result = distort(images, keys(8))
    order = np.random.default_rng(0).permutation(8)
    # The same bits: an example has the same arithmetic wherever it stands.
    np.testing.assert_array_equal(distort(images[order], keys(8)[order]), result[order])
    same_image = distort(jnp.tile(images[:1], (8, 1, 1, 1)), keys(8))
    np.testing.assert_array_equal(same_image[0], result[0])
    assert len(np.unique(same_image.reshape(8, -1), axis=0)) == 8
    assert np.any(distort(images, keys(8, seed=1)) != result)


def test_no_distortion_leaves_the_range_of_pixels():
    distorted = augment(noise(64), keys(64), EVERYTHING)
    assert distorted.shape == (64, 28, 28, 1)
    assert float(distorted.min()) >= 0.0
    assert float(distorted.max()) <= 1.0


def test_channels_are_distorted_alike():
    images = jnp.concatenate([noise(8), 0.5 * noise(8), 1.0 - noise(8)], axis=-1)
    distorted = augment(images, keys(8), EVERYTHING)
    assert distorted.shape == images.shape
    for channel in range(3):
        alone = augment(images[..., channel : channel + 1], keys(8), EVERYTHING)
        np.testing.assert_allclose(distorted[..., channel : channel + 1], alone, rtol=0, atol=1e-6)


def read_once(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear values of one grey image `[H, W]`, 0 outside, pixel by pixel."""
    padded = np.pad(image, 2)
    values = np.zeros_like(image)
    for place in np.ndindex(image.shape):
        y, x = (
            min(max(at[place], -1.0), size)
            for at, size in zip((rows, columns), image.shape, strict=True)
        )
        top, left = int(np.floor(y)), int(np.floor(x))
        down, right = y - top, x - left
        square = padded[top + 2 : top + 4, left + 2 : left + 4]
        values[place] = np.array([1 - down, down]) @ square @ np.array([1 - right, right])
    return values


@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (12, 41, 2)])
def test_pixels_are_those_of_the_formula(shape):
    """Rotation, shear, scale and shift, written out for one image at a time as it always was."""
    config = Augment(rotation=20.0, translation=3.0, scale=0.2, shear=10.0)
    pixels = np.random.default_rng(0).uniform(size=(2, *shape)).astype(np.float32)
    distorted = augment(jnp.asarray(pixels), keys(2), config)
    height, width, channels = shape
    y, x = np.meshgrid(
        np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij"
    )
    for image, key, found in zip(pixels, keys(2), distorted, strict=True):
        draws = np.asarray(jax.random.uniform(key, (6,), minval=-1.0, maxval=1.0), float)
        angle, shear = np.deg2rad(20.0) * draws[0], np.tan(np.deg2rad(10.0) * draws[1])
        scale_y, scale_x = 1.0 / (1.0 + 0.2 * draws[2:4])
        cos, sin = np.cos(angle), np.sin(angle)
        rows = scale_y * (cos * y + sin * x) + 3.0 * draws[4] + (height - 1) / 2
        columns = scale_x * ((shear * cos - sin) * y + (shear * sin + cos) * x)
        columns = columns + 3.0 * draws[5] + (width - 1) / 2
        expected = [read_once(image[..., c], rows, columns) for c in range(channels)]
        np.testing.assert_allclose(found, np.stack(expected, axis=-1), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("size", "points"), [(28, 7), (32, 8), (64, 16), (5, 2), (1, 2)])
def test_the_grid_of_the_elastic_displacement_follows_the_size(size, points):
    weights = module._spread(size, 4.0)
    assert weights.shape == (size, points)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=1), 1.0)


@pytest.mark.parametrize("shape", [(64, 64), (20, 56)])
def test_elastic_displacements_have_the_stated_deviation_at_every_size(shape):
    height, width = shape
    drawn = module._elastic_displacement(keys(400), height, width, Augment(elastic=1.5))
    for displacement in drawn:
        assert displacement.shape == (400, height, width)
        assert float(displacement.std()) == pytest.approx(1.5, rel=0.05)
