# ---
# jupyter:
#   accelerator: TPU
#   colab:
#     gpuType: V5E1
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   language_info:
#     name: python
# ---

# %% [markdown]
# # Handwritten digits in JAX and Flax
#
# You know Keras: `Sequential`, `compile`, `fit`, `evaluate`. This notebook does the same work with
# `mnist_jax`, a small codebase in JAX and Flax: look at the data, build networks, train one, see
# where it fails, bring it back from a checkpoint, and compare several networks fairly.
#
# Run the cells from top to bottom. On two CPU cores they need two to five minutes in all. On Colab
# choose a TPU, a GPU or a CPU under *Runtime > Change runtime type*; the cells are the same.

# %% [markdown]
# ## 1. Set-up
#
# The next cell installs `mnist_jax` and the JAX that fits this machine. It does nothing where
# `mnist_jax` is installed. Where does the project come from? If this notebook lies in a checkout,
# from there; else write its folder or its `git+https://...` address into `SOURCE`.

# %%
import glob
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE = ""  # a folder or "git+https://..."; empty: the checkout around this notebook


def accelerator():
    """The project's extra for what this machine computes on; empty for a CPU."""
    if glob.glob("/dev/accel[0-9]*") or glob.glob("/dev/vfio/[0-9]*"):
        return "tpu"
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "cuda" if int(driver.split(".")[0]) >= 580 else "cuda12"  # what CUDA 13 needs


def find_checkout():
    """The folder of the project in which this notebook lies, or None."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = folder / "pyproject.toml"
        if project.is_file() and 'name = "mnist_jax"' in project.read_text():
            return folder
    return None


def install(source):
    """Installs the project with pip, from a folder or an address."""
    if not source:
        raise FileNotFoundError(
            "Where is mnist_jax? This notebook lies in no checkout of it: set SOURCE above to its "
            "folder, or to its address as 'git+https://...', and run this cell again."
        )
    extra = f"[{accelerator()}]" if accelerator() else ""
    if str(source).startswith("git+"):
        what = [f"mnist_jax{extra} @ {source}"]
    else:
        what = ["-e", f"{Path(source).resolve()}{extra}"]
        sys.path.insert(0, str(Path(source).resolve()))  # else it counts after a restart only
    print(f"Installing mnist_jax{extra}: a minute or two.")
    command = [sys.executable, "-m", "pip", "install", "-q", *what]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"pip could not install mnist_jax{extra}. It takes a network; pip says:\n{done.stderr}"
        )
    importlib.invalidate_caches()
    print("Done. If an import below fails: restart the session, and go on from the top.")


found = importlib.util.find_spec("mnist_jax")
if found and found.origin:  # a mere folder of that name has no origin
    print("mnist_jax is installed.")
else:
    install(SOURCE or find_checkout())

# %% [markdown]
# What will compute? JAX finds the devices by itself, and all that follows is the same on each kind.

# %%
import jax

from mnist_jax.training import provenance

print(f"device    {provenance.device()}")
print(f"JAX says  {jax.devices()}")
print(f"versions  {', '.join(f'{k} {v}' for k, v in provenance.versions().items())}")
if accelerator() and jax.default_backend() == "cpu":
    print(
        f"Attention: this machine has an accelerator, and JAX does not use it. Run pip install "
        f"'jax[{accelerator()}]', restart the session, and go on from the top."
    )

# %% [markdown]
# Every number that you may want to change is here. All files are written under `WORKDIR`. A run
# keeps its folder: after changing a number choose another `WORKDIR`, and nothing gets mixed up.

# %% tags=["parameters"]
WORKDIR = Path("runs/notebook")

TRAIN_SPLIT = "train[:55000]"  # the network learns from these images
VAL_SPLIT = "train[55000:]"  # choices are made on these; the test images are for the end
SEED = 0
EPOCHS = 5

SWEEP_EPOCHS = 5
SWEEP_SEEDS = 3  # trainings of each network, at least 2

# %% [markdown]
# One helper for all pictures: it shows figures side by side, and can show them in the place of
# older ones.

# %%
import io

import matplotlib
import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.image import imsave

from mnist_jax.analysis import canvas

matplotlib.rcParams.update(canvas.STYLE)


def show(*figures, place=None):
    """Shows figures as one picture; `place` is what `display(..., display_id=True)` returned."""
    for figure in figures:
        figure.canvas.draw()
    pixels = np.hstack([figure.canvas.buffer_rgba() for figure in figures])
    png = io.BytesIO()
    imsave(png, pixels, metadata={"Software": None})
    (place.update if place else display)(Image(png.getvalue()))


# %% [markdown]
# ## 2. The data
#
# MNIST is in the package: nothing is downloaded. There are 70,000 images of 28 x 28 pixels, values
# 0 to 255. Keras gives you two arrays, train and test. Here a *split* is named by a string, and the
# last 5,000 training images are kept back for validation.
#
# The next cell does what `python -m mnist_jax.explore` does. At its end it names the pictures that
# the command writes; two of them follow.

# %%
from mnist_jax.analysis import exploration, exploration_plots
from mnist_jax.config import default, parse


def configuration(**model):
    """The defaults with the numbers chosen above, and a network."""
    config = default()
    config.seed = SEED
    config.num_epochs = EPOCHS
    config.data.train_split = TRAIN_SPLIT
    config.data.val_split = VAL_SPLIT
    config.model = model
    return config


asked = parse(configuration(name="mlp").to_dict())
splits = exploration.load(asked)
explored = exploration.explore(asked, splits)
print(exploration.tell(explored, width=80))

# %%
show(exploration_plots.draw_samples(splits["training"], rows=5))

# %% [markdown]
# Are all digits about as frequent? If not, accuracy alone would mislead.

# %%
show(exploration_plots.draw_balance(explored))

# %% [markdown]
# ## 3. Networks
#
# In Keras a network is a list of layer objects. Here it is a *value* in a configuration, so that it
# can be saved, compared and changed from the command line. Nothing is computed yet.
#
# | Keras | here |
# | --- | --- |
# | `Sequential([Dense(128), ...])` | `config.model = dict(name="mlp", hidden=(128, 32))` |
# | `model.summary()` | `summary(model)` |
# | `plot_model(model)` | `draw_network(model, folder)` |
# | `compile(optimizer="adam")` | `config.optimizer = dict(name="adam")` |
# | `fit(epochs=5)` | `config.num_epochs = 5`, then `run_to_end(config, folder)` |
# | `evaluate` | part of `run_to_end` |
# | `load_weights` | `restore(folder)` |
#
# First a dense network: 784 pixels, hidden layers of 128 and 32 units, 10 outputs.

# %%
from mnist_jax import models
from mnist_jax.analysis.drawing import draw_network
from mnist_jax.analysis.summary import summary

mlp = configuration(name="mlp", hidden=(128, 32), activation="relu", dropout=0.1)
dense = models.build(parse(mlp.to_dict()).model)
print(summary(dense))

# %%
drawing, _ = draw_network(dense, WORKDIR / "drawings" / "mlp")
display(Image(filename=drawing))

# %% [markdown]
# A convolutional network is another value. It looks at small neighbourhoods of pixels with the same
# weights everywhere, which is what pictures ask for.

# %%
cnn = configuration(name="cnn", features=(16, 32), kernel=(5, 3), pooling="max", dense=(128,))
convolutional = models.build(parse(cnn.to_dict()).model)
print(summary(convolutional))

# %%
drawing, _ = draw_network(convolutional, WORKDIR / "drawings" / "cnn")
display(Image(filename=drawing))

# %% [markdown]
# ## 4. Training
#
# We train the convolutional network. A configuration says the rest, too: the optimizer and the
# course of its learning rate, by optax's own names and keywords (`transition_steps=1.0` is the
# whole run), and the distortion: each training image is turned, shifted, scaled and sheared a
# little, anew in each epoch.

# %%
cnn.chunk_steps = 143  # steps in one compiled call; after each, the run can be stopped
cnn.optimizer = dict(name="adam")
cnn.schedule = dict(
    name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=4e-3, pct_start=0.2
)
cnn.augment.rotation = 10.0  # degrees
cnn.augment.translation = 2.0  # pixels
cnn.augment.scale = 0.1
cnn.augment.shear = 10.0  # degrees

config = models.resolve(parse(cnn.to_dict()))
show(exploration_plots.draw_augmentation(splits["training"], config.augment, SEED))

# %% [markdown]
# `run_to_end` is all that `python -m mnist_jax.main` does: it compiles, trains, saves a checkpoint
# after each epoch, and evaluates at the end. The curves below grow with each epoch.
#
# Stop the cell if you like: it saves, and running it again goes on from there.

# %%
from mnist_jax.analysis.plots import draw_accuracy, draw_loss
from mnist_jax.training.restored import restore
from mnist_jax.training.session import run_to_end

RUN = WORKDIR / "cnn"
curves = display(Markdown("*The curves appear after the first epoch.*"), display_id=True)


def redraw(rows):
    """Draws the epochs so far, in the place of the last picture."""
    show(draw_accuracy(rows), draw_loss(rows), place=curves)


status = run_to_end(config, RUN, on_epoch=redraw)  # 0: finished; 75: stopped, and saved
if status == 0:
    redraw(restore(RUN).rows)  # also where the run was finished before

# %% [markdown]
# The training curve is a mean over the epoch, on distorted images, while the network still learns;
# the validation curve is measured after the epoch, on images as they are. That is why validation
# may look *better* than training here. Overfitting would show as a validation loss that rises while
# the training loss falls.

# %% [markdown]
# ## 5. Evaluation
#
# The test images have chosen nothing so far: not the network, not the number of epochs. So their
# accuracy says what to expect of new digits.

# %%
from mnist_jax.files import read_json

result = read_json(RUN / "result.json")
wrong = round(result["test_count"] * (1 - result["test_accuracy"]))
print(f"test accuracy  {result['test_accuracy']:.2%}: {wrong} of {result['test_count']:,} wrong")
print(f"test loss      {result['test_loss']:.4f}")
print(f"parameters     {result['parameters']:,}")

# %% [markdown]
# Which digits are taken for which? A row is a true digit, a column what the network said.

# %%
display(Image(filename=RUN / "plots" / "confusion.png"))

# %% [markdown]
# The worst mistakes: it gave the true digit the least probability. Would you have read them right?

# %%
display(Image(filename=RUN / "plots" / "mistakes.png"))

# %% [markdown]
# Can its probabilities be trusted? Of the images for which it says 90 %, about 90 % should be
# right: then the points lie on the dashed line. The bars below count the images: most of them are
# at the right end, and where they are few, the intervals are wide.

# %%
display(Image(filename=RUN / "plots" / "calibration.png"))

# %% [markdown]
# ## 6. Single images
#
# `restore` brings the trained network back from its folder. A model here holds no weights: it is a
# pure function, and weights are plain dicts that you hand to it.

# %%
from mnist_jax import data
from mnist_jax.training.loss import probabilities

trained = restore(RUN)
test = data.load("mnist", "test")


def predict(images):
    """`[n, 10]` probabilities of images `[n, 28, 28, 1]` with values 0 to 255."""
    outputs, _ = trained.model.apply(
        trained.params, trained.variables, images / np.float32(255), train=False
    )
    kind = trained.model.output_activation
    return np.asarray(probabilities(outputs, output_activation=kind))


print(predict(test.images[:1]).round(3))

# %%
from mnist_jax.analysis.canvas import BLUE, VERMILLION


def draw_predictions(numbers):
    """Test images by their numbers, and below each the probabilities of the ten digits."""
    figure = canvas.new_figure(9, 3.6)
    axes = figure.subplots(2, len(numbers), sharey="row", squeeze=False)
    figure.subplots_adjust(0.07, 0.14, 0.99, 0.9, hspace=0.08)
    axes[1, 0].set_ylabel("probability (%)")
    for (top, bottom), number in zip(axes.T, numbers, strict=True):
        p = predict(test.images[number : number + 1])[0]
        said, true = p.argmax(), test.labels[number]
        color = BLUE if said == true else VERMILLION
        top.imshow(test.images[number], cmap="gray_r")
        top.set_axis_off()
        top.set_title(f"{said}, {100 * p.max():.1f} %", loc="center", color=color)
        bottom.bar(range(10), 100 * p, color=[color if k == said else BLUE for k in range(10)])
        bottom.set_xticks(range(10), range(10), size=8)
        bottom.set_ylim(0, 105)
        bottom.grid(False, axis="x")
        bottom.set_xlabel(f"image {number}, a {true}")
    return figure


show(draw_predictions([0, 1, 2, 3, 4]))

# %% [markdown]
# Now the five mistakes of which it was most sure. Any numbers will do, for example those under the
# mistakes above: `show(draw_predictions([7, 42]))`.

# %%
p = np.concatenate([predict(part) for part in np.split(test.images, 20)])
sure = np.where(p.argmax(axis=1) == test.labels, 0.0, p.max(axis=1))  # and wrong
show(draw_predictions(np.argsort(-sure)[:5]))

# %% [markdown]
# ## 7. Checkpoints
#
# The network above came from a checkpoint already. So a new evaluation of all test images must give
# the same accuracy, to the last bit.

# %%
from mnist_jax.analysis.evaluation import evaluate
from mnist_jax.training.checkpoint import steps
from mnist_jax.training.inference import Inference
from mnist_jax.training.loss import find_loss

inference = Inference(trained.model, find_loss(config.loss), test)
again = evaluate(inference(trained.params, trained.variables))
print(f"checkpoints   {steps(RUN / 'checkpoints')} (steps)")
print(f"restored      {trained.step}")
print(f"accuracy      {again['accuracy']:.2%}")
print(f"as before     {again['accuracy'] == result['test_accuracy']}")

# %% [markdown]
# Checkpoints are also why a run is never lost. Run the same again, and it goes on from the last
# one: after Ctrl-C, after a crash, or after Colab took the machine away (if `WORKDIR` is on a
# mounted drive). This run is finished, so there is nothing left to do:

# %%
status = run_to_end(config, RUN)

# %% [markdown]
# ## 8. Which network is better?
#
# Train a network twice with different seeds, and you get two accuracies. So two networks are
# compared over several seeds each. A *sweep* does that, and trains the seeds of a network together
# in one compiled program. (`python -m mnist_jax.sweep` does the same from a file.)

# %%
import dataclasses

from mnist_jax.members import Planned
from mnist_jax.training.sweep import run_sweep

HIDDEN = {"no hidden layer": (), "32 units": (32,), "128 units": (128,), "128 + 32": (128, 32)}
SWEEP = WORKDIR / "sweep"
plan = []
for name, hidden in HIDDEN.items():
    asked = parse(configuration(name="mlp", hidden=hidden).to_dict())
    for seed in range(SWEEP_SEEDS):
        member = dataclasses.replace(asked, num_epochs=SWEEP_EPOCHS, seed=seed)
        plan.append(Planned(name, member))

status = run_sweep(plan, SWEEP)

# %%
import csv

with (SWEEP / "summary.csv").open() as file:
    rows = list(csv.DictReader(file))


def percent(row, split):
    """Mean and standard deviation over the seeds."""
    mean, deviation = (100 * float(row[f"{split}_accuracy{end}"]) for end in ("", "_sd"))
    return f"{mean:.2f} ± {deviation:.2f}"


lines = ["| hidden units | parameters | validation, % | test, % |", "| --- | ---: | ---: | ---: |"]
for row in rows:
    figures = [f"{int(row['parameters']):,}", percent(row, "val"), percent(row, "test")]
    lines.append(f"| {' | '.join([row['architecture'], *figures])} |")
display(Markdown("\n".join(lines)))

# %%
display(Image(filename=SWEEP / "plots" / "ranking.png"))

# %% [markdown]
# What may we conclude? Trainings with the same seed see the images in the same order, so compare
# them seed by seed: take the differences, their mean, and its standard error. A mean within two
# standard errors of zero may be chance. (With three seeds that is a rough rule; ten are better.)

# %%
from itertools import pairwise

from mnist_jax.analysis.comparison import statistic

accuracy = {name: [] for name in HIDDEN}
with (SWEEP / "sweep.csv").open() as file:
    for row in csv.DictReader(file):
        accuracy[row["architecture"]].append(100 * float(row["val_accuracy"]))

for less, more in pairwise(HIDDEN):
    gain = statistic(b - a for a, b in zip(accuracy[less], accuracy[more], strict=True))
    verdict = "clear" if abs(gain.mean) > 2 * gain.error else "may be chance"
    change = f"from {less} to {more}"
    print(f"{change:33}  {gain.mean:+.2f} ± {gain.error:.2f} points  {verdict}")

# %% [markdown]
# A hidden layer is worth points, and so is a wider one. Where the last line says *may be chance*,
# that is not proof that a second layer is worth nothing: these few epochs and seeds cannot show it.
# More epochs, or more seeds, could: change the numbers in section 1 and look. And it holds for
# these networks on these images, not for all.
#
# ## 9. What next
#
# The paths are in the project's folder.
#
# | you want to | look at |
# | --- | --- |
# | read the report of your run | `report.html` in the folder `RUN`, and in `SWEEP` |
# | train for longer, in a terminal | `python -m mnist_jax.main --config=configs/cnn.py` |
# | evaluate on another split | `python -m mnist_jax.evaluate --workdir=DIR --split=SPLIT` |
# | know what each configuration reaches | `README.md`, Results |
# | change any setting | `mnist_jax/config.py` defines and explains each one |
# | write your own network, layer by layer | `docs/models.md` |
# | see the layers | `mnist_jax/models/layers.py` |
# | see the training loop | `mnist_jax/training/loop.py`, one page |
# | see one step of it | `mnist_jax/training/step.py`, one pure function |
