import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mnist_jax.config import Augment, Choice
from mnist_jax.data import augment as module
from mnist_jax.data.augment import enabled

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_compiles")


def compiled(config):
    """A function of images and keys, compiled, that changes each image alone."""
    return jax.jit(lambda images, keys: module.augment_images(images, keys, config))


def augment(images, keys, config):
    return compiled(config)(images, keys)


def augment_both(images, targets, keys, config):
    return jax.jit(lambda *batch: module.augment(*batch, config))(images, targets, keys)


EVERYTHING = Augment(rotation=20.0, translation=3.0, scale=0.2, shear=10.0, elastic=1.5)
NOISE, ERASED, MIXED = Augment(noise=0.1), Augment(erase=1.0), Augment(mixup=0.4)


def noise(size: int, channels: int = 1) -> jax.Array:
    pixels = np.random.default_rng(0).uniform(size=(size, 28, 28, channels))
    return jnp.asarray(pixels, jnp.float32)


def grey(size: int, value: float = 0.5, shape: tuple[int, int, int] = (28, 28, 1)) -> jax.Array:
    return jnp.full((size, *shape), value, jnp.float32)


def one_hot(size: int) -> jax.Array:
    return jax.nn.one_hot(jnp.arange(size) % 10, 10)


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
    for field in (
        "rotation",
        "translation",
        "scale",
        "shear",
        "elastic",
        "noise",
        "erase",
        "mixup",
    ):
        assert enabled(Augment(**{field: 0.1}))
    assert enabled(Augment(functions=(Choice("mine:salt"),)))


def test_ranges_of_zero_change_nothing():
    images, targets = noise(4), one_hot(4)
    same = augment_both(images, targets, keys(4), Augment())
    np.testing.assert_array_equal(same[0], images)
    np.testing.assert_array_equal(same[1], targets)
    hardly = augment(images, keys(4), Augment(rotation=1e-6))
    np.testing.assert_allclose(hardly, images, rtol=0, atol=1e-5)


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


@pytest.mark.parametrize("config", [EVERYTHING, Augment(rotation=15.0), NOISE, ERASED])
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


# Noise


@pytest.mark.parametrize("deviation", [0.02, 0.1])
def test_noise_has_the_stated_deviation(deviation):
    images = grey(64, shape=(28, 28, 3))
    added = np.asarray(augment(images, keys(64), Augment(noise=deviation)) - images)
    # 150,528 values, none of them clipped: their deviation is known to 0.2 %.
    assert added.std() == pytest.approx(deviation, rel=0.01)
    assert abs(added.mean()) < 0.01 * deviation
    assert stats.kstest(added.reshape(-1)[:20_000] / deviation, "norm").pvalue > 1e-3
    # Neither neighbours, nor images, nor channels have it in common.
    for a, b in (
        (added[:, :, 1:], added[:, :, :-1]),
        (added[1:], added[:-1]),
        (added[..., 1:], added[..., :-1]),
    ):
        assert abs(np.corrcoef(a.reshape(-1), b.reshape(-1))[0, 1]) < 0.02


def test_noise_is_clipped():
    noisy = np.asarray(augment(grey(64, value=1.0), keys(64), Augment(noise=0.3)))
    assert noisy.max() == 1.0
    assert (noisy == 1.0).mean() == pytest.approx(0.5, abs=0.01)
    dark = np.asarray(augment(grey(64, value=0.0), keys(64), Augment(noise=0.3)))
    assert dark.min() == 0.0
    assert dark[dark > 0].mean() == pytest.approx(0.3 * np.sqrt(2 / np.pi), rel=0.02)


# Erasing

BACKGROUND = 2.0  # no pixel of noise has it


def erased_boxes(shape=(28, 28, 1), count=2000, probability=1.0):
    """The erased rectangles of grey images: top, left, height and width of each."""
    images = grey(count, BACKGROUND, shape)
    erased = np.asarray(augment(images, keys(count), Augment(erase=probability)))
    boxes = []
    for image in erased:
        rows, columns = np.nonzero((image != BACKGROUND).all(axis=-1))
        if len(rows):
            top, left = rows.min(), columns.min()
            height, width = rows.max() - top + 1, columns.max() - left + 1
            assert len(rows) == height * width  # a full rectangle, of all channels
            assert (image != BACKGROUND).sum() == height * width * shape[-1]
            boxes.append((top, left, height, width))
    return np.asarray(boxes).T


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_as_many_images_are_erased_as_stated(probability):
    *_, widths = erased_boxes(probability=probability)
    deviation = np.sqrt(2000 * probability * (1 - probability))
    assert abs(len(widths) - 2000 * probability) <= 4 * deviation


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 20, 3), (12, 41, 1)])
def test_an_erased_rectangle_has_the_stated_area_and_ratio(shape):
    top, left, heights, widths = erased_boxes(shape)
    height, width = shape[:2]
    fractions = heights * widths / (height * width)
    assert fractions.mean() == pytest.approx((0.02 + 1 / 3) / 2, rel=0.05)
    # Sides are rounded to whole pixels, so that a small rectangle can miss its area by a quarter.
    assert fractions.min() > 0.014
    assert fractions.max() < 1 / 3 + 0.05
    assert fractions.min() < 0.03
    assert fractions.max() > 0.31
    large = fractions > 0.1
    ratios = heights[large] / widths[large]
    assert ratios.min() > 0.25
    assert ratios.max() < 4.0
    if height == width:  # as many are tall as wide
        assert ratios.min() < 0.4
        assert ratios.max() > 2.5
        assert abs((heights > widths).mean() - (heights < widths).mean()) < 0.08
    for starts, sizes, size in ((top, heights, height), (left, widths, width)):
        assert starts.min() == 0
        assert (starts + sizes).max() == size
        room = (size - sizes) > 5  # the place is uniform
        share = starts[room] / (size - sizes[room])
        assert share.mean() == pytest.approx(0.5, abs=0.04)
        assert share.std() == pytest.approx(np.sqrt(1 / 12), rel=0.2)


def test_what_is_erased_is_uniform_noise():
    erased = np.asarray(augment(grey(200, BACKGROUND, (28, 28, 3)), keys(200), ERASED))
    noise = erased[erased != BACKGROUND]
    assert stats.kstest(noise[:20_000], "uniform").pvalue > 1e-3
    assert noise.min() >= 0.0
    assert noise.max() < 1.0


# Mixup


def own_shares(alpha, pairs=4000, seed=0):
    """The share that each image of a pair keeps, seen in images of one pixel."""
    pixels = jnp.tile(jnp.array([1.0, 0.0], jnp.float32), pairs).reshape(-1, 1, 1, 1)
    targets = jax.nn.one_hot(jnp.arange(2 * pairs) % 2, 2)
    config = Augment(mixup=alpha)
    images, mixed = augment_both(pixels, targets, keys(2 * pairs, seed), config)
    first, second = np.asarray(images).reshape(-1, 2).T
    np.testing.assert_allclose(first, 1.0 - second, atol=1e-6)  # one share per pair
    np.testing.assert_allclose(mixed[::2, 0], first, atol=1e-6)  # and of images and targets
    return first


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.4, 1.0, 8.0])
def test_shares_are_those_of_a_beta_distribution(alpha):
    shares = own_shares(alpha).astype(float)
    assert shares.min() >= 0.5
    assert shares.max() <= 1.0

    def larger(x):  # the distribution function of max(x, 1 - x)
        return stats.beta.cdf(x, alpha, alpha) - stats.beta.cdf(1.0 - x, alpha, alpha)

    grid = np.linspace(0.5, 0.999, 50)  # near 1, single precision rounds to 1
    found = (shares[:, None] <= grid).mean(axis=0)
    np.testing.assert_allclose(found, larger(grid), atol=1.63 / np.sqrt(len(shares)))  # 1 %, KS


@pytest.mark.parametrize("config", [MIXED, Augment(mixup=1.0, noise=0.1, rotation=10.0)])
def test_mixup_mixes_neighbours_and_keeps_each_images_own_label(config):
    images, targets = noise(16), one_hot(16)
    alone = augment(images, keys(16), config)
    mixed, labels = map(np.asarray, augment_both(images, targets, keys(16), config))
    np.testing.assert_allclose(labels.sum(axis=1), np.ones(16), rtol=1e-6)
    assert (labels.argmax(axis=1) == np.arange(16) % 10).all()
    partners = np.arange(16) ^ 1
    share = labels[np.arange(16), np.arange(16) % 10]
    np.testing.assert_allclose(labels[np.arange(16), partners % 10], 1.0 - share, atol=1e-6)
    expected = (
        share[:, None, None, None] * alone + (1.0 - share)[:, None, None, None] * (alone[partners])
    )
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
    assert (share < 0.95).any()


def test_a_pair_is_mixed_by_the_key_of_its_first_image():
    images, targets = noise(8), one_hot(8)
    both = augment_both(images, targets, keys(8), MIXED)
    seconds = jnp.stack([keys(8)[::2], keys(8, seed=1)[1::2]], axis=1).reshape(-1)
    again = augment_both(images, targets, seconds, MIXED)
    for a, b in zip(both, again, strict=True):
        np.testing.assert_array_equal(a, b)
    changed = augment_both(images, targets, keys(8, seed=1), MIXED)
    assert np.abs(both[1] - changed[1]).max() > 0.01


def test_parts_of_a_batch_are_mixed_as_the_whole():
    images, targets, whole = noise(8), one_hot(8), keys(8)
    both = augment_both(images, targets, whole, MIXED)
    for part in (slice(0, 4), slice(4, 8)):
        of_part = augment_both(images[part], targets[part], whole[part], MIXED)
        for a, b in zip(both, of_part, strict=True):
            np.testing.assert_allclose(a[part], b, rtol=0, atol=1e-6)


# All together


def test_a_kind_draws_the_same_whatever_else_is_configured():
    """Each kind has random numbers of its own."""
    images = grey(8)
    noisy, erased = (augment(images, keys(8), config) for config in (NOISE, ERASED))
    both = augment(images, keys(8), Augment(noise=0.1, erase=1.0))
    expected = jnp.where(erased == images, noisy, erased)
    np.testing.assert_allclose(both, expected, rtol=0, atol=1e-6)


def test_the_strengths_can_differ_between_members_of_one_program():
    """Where one member's strength is 0, that member's images are as they were."""
    images, targets = noise(8), one_hot(8)
    strengths = {"noise": (0.0, 0.1), "erase": (0.0, 0.5), "mixup": (0.0, 0.4)}

    def lifted(values):
        return module.augment(images, targets, keys(8), Augment(**values))

    stacked = {name: jnp.array(pair, jnp.float32) for name, pair in strengths.items()}
    together = jax.jit(jax.vmap(lifted))(stacked)
    for i in range(2):
        config = Augment(**{name: pair[i] for name, pair in strengths.items()})
        alone = augment_both(images, targets, keys(8), config)
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[i], b, rtol=0, atol=1e-6)


OWN = """
import jax
import jax.numpy as jnp

def scaled(images, targets, keys, *, factor: float = 0.5):
    return images * factor, targets

def inverted(images, targets, keys):
    return 1.0 - images, targets[:, ::-1]

def drawn(images, targets, keys):
    draw = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:]))
    return draw(keys), targets
"""


def test_functions_of_ones_own_are_applied_in_order_after_the_others(user_module):
    user_module("own_changes", OWN)
    images, targets = noise(8), one_hot(8)
    scaled, inverted = (
        Choice("own_changes:scaled", {"factor": 0.25}),
        Choice("own_changes:inverted"),
    )
    before, labels = augment_both(images, targets, keys(8), MIXED)
    for functions, expected in [
        ((scaled, inverted), 1.0 - 0.25 * before),
        ((inverted, scaled), 0.25 * (1.0 - before)),
    ]:
        config = Augment(mixup=0.4, functions=functions)
        found = augment_both(images, targets, keys(8), config)
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found[1], labels[:, ::-1])
        # The images alone, which pictures show, are without them.
        np.testing.assert_array_equal(augment(images, keys(8), config), images)


def test_each_function_of_ones_own_draws_random_numbers_of_its_own(user_module):
    user_module("own_changes", OWN)
    drawn = Choice("own_changes:drawn")
    images, targets = grey(8), one_hot(8)
    first, second = (
        augment_both(images, targets, keys(8), Augment(functions=(drawn,) * count))[0]
        for count in (1, 2)
    )
    assert not np.isclose(first, second).any(axis=(1, 2, 3)).all()
    assert abs(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]) < 0.05
    assert len(np.unique(first.reshape(8, -1), axis=0)) == 8
