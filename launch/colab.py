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
# `mnist_jax`, a small codebase in JAX and Flax. You will look at the data, build two networks,
# train one of them, see where it fails, load it from a checkpoint, and compare several networks
# fairly.
#
# Run the cells from top to bottom. On two CPU cores they need two to five minutes in all. On Colab
# choose a TPU, a GPU or a CPU under *Runtime > Change runtime type*; the cells are the same.

# %% [markdown]
# ## 1. Set-up
#
# The next four cells install `mnist_jax` and the JAX that fits this machine, in place of an older
# one, such as Colab's. They do nothing if `mnist_jax` is installed already. If this notebook lies
# in a checkout of the project, they install that checkout. Otherwise write the project's folder, or
# its address as `git+https://...`, into `SOURCE`.

# %%
from pathlib import Path

SOURCE = ""  # a folder or "git+https://..."; empty: the checkout that holds this notebook


def find_source():
    """Returns where to install the project from: an address, or a folder."""
    for folder in (Path.cwd(), *Path.cwd().parents):
        project = folder / "pyproject.toml"
        if not SOURCE and project.is_file() and 'name = "mnist_jax"' in project.read_text():
            return str(folder)
    if SOURCE:
        return SOURCE if "://" in SOURCE else str(Path(SOURCE).resolve())
    raise FileNotFoundError(
        "mnist_jax was not found: this notebook lies in no checkout of the project. Set SOURCE "
        "above to its folder, or to its address as 'git+https://...', and run the cells again."
    )


# %%
import glob
import importlib.metadata
import subprocess


def installed(package):
    """Returns True if a package is installed."""
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


def accelerator():
    """Returns the project's extra for this machine's accelerator; empty if there is none."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return "cuda" if int(driver.split(".")[0]) >= 580 else "cuda12"  # CUDA 13 needs 580
    except (OSError, ValueError, subprocess.CalledProcessError):
        devices = glob.glob("/dev/accel[0-9]*") + glob.glob("/dev/vfio/[0-9]*")
        return "tpu" if devices else ""


def extra():
    """Returns the extra to install: for a plugin of JAX that is there, or for the accelerator."""
    # An old plugin does not work with a new JAX: it has to be replaced as well.
    plugins = {"libtpu": "tpu", "jax-cuda12-plugin": "cuda12", "jax-cuda13-plugin": "cuda"}
    return next((name for found, name in plugins.items() if installed(found)), accelerator())


# %%
import sys


def imported():
    """Returns name and version of each installed package that this session has imported."""
    packages = importlib.metadata.packages_distributions()
    names = {name for module in list(sys.modules) for name in packages.get(module, [])}
    return {(name, importlib.metadata.version(name)) for name in names}


def others():
    """Returns a line with name and version of each installed package that is not part of JAX."""
    found = {(each.name, each.version) for each in importlib.metadata.distributions()}
    parts = ("absl", "flax", "jax", "libtpu")
    return [f"{name}=={version}" for name, version in found if name and not name.startswith(parts)]


def pip_install(*what):
    """Calls pip, and returns what it says if it fails."""
    command = [sys.executable, "-m", "pip", "install", "-q", *what]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr if done.returncode else ""


# %%
import tempfile


def install(source):
    """Installs the project; an error tells if the session must be restarted then."""
    wanted = f"[{extra()}]" if extra() else ""
    what = [f"mnist_jax{wanted} @ {source}"]
    if "://" not in source:
        what = ["-e", f"{source}{wanted}"]
        sys.path.insert(0, source)  # this session would not find it otherwise
    print(f"Installing {what[-1]}: this takes a minute or two.")
    before = imported()
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        # They stay as they are, if they can.
        print(*others(), sep="\n", file=constraints, flush=True)
        if pip_install(*what, "-c", constraints.name) and (said := pip_install(*what)):
            raise RuntimeError(f"pip could not install it; is there a network?\n{said}")
    importlib.invalidate_caches()
    if old := ", ".join(sorted(name for name, _ in before - imported())):
        raise RuntimeError(f"Restart the session and run all cells again: it uses the old {old}.")


if installed("mnist_jax"):
    print("mnist_jax is installed.")
else:
    install(find_source())

# %% [markdown]
# These are all the parts of the project that this notebook uses. `mnist_jax` itself trains, loads
# and compares networks, and `data` gives you the images as arrays: that is enough for most work of
# your own. The rest is imported because this notebook also shows intermediate steps and figures.

# %%
import jax

import mnist_jax
from mnist_jax import data, members, metrics, models
from mnist_jax.analysis import canvas
from mnist_jax.analysis.data import figures, text
from mnist_jax.analysis.data import plots as data_plots
from mnist_jax.analysis.network import drawing, summary
from mnist_jax.analysis.run import plots
from mnist_jax.config import parse

# %% [markdown]
# JAX finds the devices of this machine by itself. Everything below works on each kind of device.

# %%
print(f"JAX {jax.__version__} computes on {jax.devices()}")
if accelerator() and jax.default_backend() == "cpu":
    print(
        f"Attention: this machine has an accelerator, but JAX does not use it. Run pip install "
        f"'jax[{accelerator()}]', restart the session, and run all cells again."
    )

# %% [markdown]
# Every number that you may want to change is in the next cell. All files are written under
# `WORKDIR`. A folder holds a single run, so choose another `WORKDIR` after changing a number.

# %% tags=["parameters"]
WORKDIR = Path("runs/notebook")

TRAIN_SPLIT = "train[:55000]"  # the network learns from these images
VAL_SPLIT = "train[55000:]"  # choices are made on these; the test images are used at the end
SEED = 0
EPOCHS = 5

SWEEP_EPOCHS = 5
SWEEP_SEEDS = 3  # trainings of each network, at least 2

# %% [markdown]
# One helper shows all the figures that are drawn below. It puts several of them side by side, and
# it can replace a picture that was shown earlier.

# %%
import io

import matplotlib
import numpy as np
from IPython.display import Image, Markdown, display
from matplotlib.image import imsave

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
# MNIST is in the package, so nothing is downloaded. It has 70,000 images of 28 x 28 pixels with
# values from 0 to 255. Keras gives you one array for training and one for testing. Here a *split*
# is named by a string, and the last 5,000 training images are kept back for validation.

# %%
test = data.load("mnist", "test")
print(f"images  {test.images.shape} {test.images.dtype}")
print(f"labels  {test.labels.shape} {test.labels.dtype}, the first ones: {test.labels[:10]}")

# %% [markdown]
# One object, the *configuration*, describes an experiment completely: its data, its network and its
# training. `mnist_jax.default()` returns one to edit, and a misspelt field is an error at once.

# %%


def configuration(**model):
    """Returns the defaults with the numbers chosen above, and a network."""
    config = mnist_jax.default()
    config.seed = SEED
    config.num_epochs = EPOCHS
    config.data.train_split = TRAIN_SPLIT
    config.data.val_split = VAL_SPLIT
    config.model = model
    return config


# %% [markdown]
# What is in the data? The next cell prints what the command `python -m mnist_jax.explore` prints.
# `parse` checks the configuration's values and converts it to the type that is used inside the
# project; `train` and `sweep` below do that for you. The end of the text names the pictures that
# the command writes as well; two of them follow.

# %%
asked = parse(configuration(name="mlp").to_dict())
splits = figures.load(asked)
explored = figures.explore(asked, splits)
print(text.tell(explored, width=80))

# %%
show(data_plots.draw_samples(splits["training"], rows=5))

# %% [markdown]
# Are all digits about equally frequent? If they were not, the accuracy alone would mislead.

# %%
show(data_plots.draw_balance(explored))

# %% [markdown]
# ## 3. Networks
#
# In Keras a network is a list of layer objects. Here it is a *value* in the configuration, so it
# can be saved, compared and changed from the command line. This table translates what you know:
#
# | Keras | here |
# | --- | --- |
# | `Sequential([Dense(128), ...])` | `config.model = dict(name="mlp", hidden=(128, 32))` |
# | `model.summary()` | `summary.summary(model)` |
# | `plot_model(model)` | `drawing.draw_network(model, folder)` |
# | `compile(optimizer="adam", loss=...)` | `config.optimizer = dict(name="adam")`, `config.loss` |
# | `compile(metrics=[mine])` | `config.metrics = ("module:mine",)` |
# | `fit(epochs=5)` | `run = mnist_jax.train(config, workdir=DIR, num_epochs=5)` |
# | the `History` that `fit` returns | `run.history`, one row per epoch |
# | `EarlyStopping(patience=3)` | `config.patience = 3`; it watches `config.best` |
# | `ModelCheckpoint(save_best_only=True)` | always on: `mnist_jax.load(DIR, checkpoint="best")` |
# | a callback after each epoch | `mnist_jax.train(config, workdir=DIR, on_epoch=function)` |
# | `load_model` | `classifier = mnist_jax.load(DIR)` |
# | `predict(images)` | `classifier.predict(images)` |
# | `evaluate(images, labels)` | `classifier.evaluate("test")` |
#
# The first network is a dense one: it takes all the pixels of an image, has hidden layers of 128
# and 32 units, and gives 10 outputs. You need not say how large an image is or how many classes
# there are, because both follow from the data. Building a network computes nothing yet.

# %%


def build(config):
    """Builds the network of a configuration, for the images and classes of its data."""
    return models.build(parse(config.to_dict()).model, data.spec(config.data.name))


mlp = configuration(name="mlp", hidden=(128, 32), activation="relu", dropout=0.1)
dense = build(mlp)
print(summary.summary(dense))

# %%
picture, _ = drawing.draw_network(dense, WORKDIR / "drawings" / "mlp")
display(Image(filename=picture))

# %% [markdown]
# A convolutional network is another value. It applies the same weights to every small neighbourhood
# of pixels, which suits images.

# %%
cnn = configuration(name="cnn", features=(16, 32), kernel=(5, 3), pooling="max", dense=(128,))
convolutional = build(cnn)
print(summary.summary(convolutional))

# %%
picture, _ = drawing.draw_network(convolutional, WORKDIR / "drawings" / "cnn")
display(Image(filename=picture))

# %% [markdown]
# ## 4. Training
#
# We train the convolutional network. The configuration also sets the optimizer and the schedule of
# its learning rate, with the names and keywords of the library optax; `transition_steps=1.0` means
# the whole run. The training images are distorted: each one is rotated, shifted, scaled and sheared
# a little, and differently in each epoch.

# %%
cnn.chunk_steps = 143  # steps in one compiled call; the run can be stopped after each call
cnn.optimizer = dict(name="adam")
cnn.schedule = dict(
    name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=4e-3, pct_start=0.2
)
cnn.augment.rotation = 10.0  # degrees
cnn.augment.translation = 2.0  # pixels
cnn.augment.scale = 0.1
cnn.augment.shear = 10.0  # degrees

augmentation = parse(cnn.to_dict()).augment
show(data_plots.draw_augmentation(splits["training"], augmentation, SEED))

# %% [markdown]
# `mnist_jax.train` does what the command `python -m mnist_jax.main` does: it compiles, trains,
# saves a checkpoint after each epoch, and evaluates on the test images at the end. After each epoch
# it calls `on_epoch` with the rows of all epochs so far, so the curves below grow while you watch.
#
# You may interrupt the cell. The run is saved first, and running the cell again resumes it.

# %%
RUN = WORKDIR / "cnn"
curves = display(Markdown("*The curves appear after the first epoch.*"), display_id=True)
loss, accuracy = metrics.find()  # the two metrics that every run has


def redraw(rows):
    """Draws the curves of the epochs so far, in place of the last picture."""
    show(plots.draw_curve(rows, accuracy), plots.draw_curve(rows, loss), place=curves)


run = mnist_jax.train(cnn, workdir=RUN, on_epoch=redraw)
redraw(run.history)  # if the run was finished before, on_epoch was not called

# %% [markdown]
# The training curve is a mean over the epoch, on distorted images, while the network still learns.
# The validation curve is measured after the epoch, on images as they are. That is why validation
# may look *better* than training here. Overfitting would show as a validation loss that rises while
# the training loss falls.

# %% [markdown]
# ## 5. Evaluation
#
# The test images have not been used for any choice so far, neither of the network nor of the number
# of epochs. So the accuracy on them tells what to expect of new digits.

# %%
result = run.result
wrong = round(result["test_count"] * (1 - result["test_accuracy"]))
print(f"test accuracy  {result['test_accuracy']:.2%}: {wrong} of {result['test_count']:,} wrong")
print(f"test loss      {result['test_loss']:.4f}")
print(f"parameters     {result['parameters']:,}")
print(f"trained on     {result['device']}")

# %% [markdown]
# Which digits does the network confuse? A row is a true digit, a column is a predicted digit.

# %%
display(Image(filename=RUN / "plots" / "confusion.png"))

# %% [markdown]
# These are the worst mistakes, where the network gave the true digit the lowest probability. Would
# you have read them correctly?

# %%
display(Image(filename=RUN / "plots" / "mistakes.png"))

# %% [markdown]
# Can the network's probabilities be trusted? Of the images that it classifies with a probability of
# 90 %, about 90 % should be right; then the points lie on the dashed line. The bars below count the
# images. Most images are at the right end; where there are few, the intervals are wide.

# %%
display(Image(filename=RUN / "plots" / "calibration.png"))

# %% [markdown]
# What does the network look at? A filter of its first layer responds most to small parts of an
# image that look like its weights: ink where they are blue, none where they are orange.

# %%
display(Image(filename=RUN / "plots" / "first_layer.png"))

# %% [markdown]
# Follow one image of each digit through the layers, from top to bottom. The first layers still show
# strokes. The last one has a value for each digit, and the bluest should be the true one.

# %%
display(Image(filename=RUN / "plots" / "activations.png"))

# %% [markdown]
# Back to the worst mistakes: more ink on a blue pixel would raise the network's output for its
# wrong answer, and on an orange one lower it. This is a gradient, so it is true of small changes
# only.

# %%
display(Image(filename=RUN / "plots" / "saliency.png"))

# %% [markdown]
# Last, a map of all test images, by the two principal components of what enters the last layer.
# Digits that lie apart are easy to tell apart. Those that overlap here may still differ in the
# components that a plane cannot show.

# %%
display(Image(filename=RUN / "plots" / "map.png"))

# %% [markdown]
# ## 6. Single images
#
# `mnist_jax.load` loads the trained network from its folder. `predict` takes images with values
# from 0 to 255, or floats from 0 to 1, and returns labels and probabilities.

# %%
classifier = mnist_jax.load(RUN)
first = classifier.predict(test.images[:1])
print(f"label          {first.labels[0]}")
print(f"probabilities  {first.probabilities[0].round(3)}")

# %%


def draw_prediction(top, bottom, number, label, probabilities):
    """Draws one image on the axes `top`, and its probabilities on the axes `bottom`."""
    true = test.labels[number]
    color = canvas.BLUE if label == true else canvas.VERMILLION
    top.imshow(test.images[number], cmap="gray_r")
    top.set_axis_off()
    top.set_title(f"{label}, {100 * probabilities[label]:.1f} %", loc="center", color=color)
    colors = [color if k == label else canvas.BLUE for k in range(10)]
    bottom.bar(range(10), 100 * probabilities, color=colors)
    bottom.set_xticks(range(10), range(10), size=8)
    bottom.set_ylim(0, 105)
    bottom.grid(False, axis="x")
    bottom.set_xlabel(f"image {number}, a {true}")


# %% [markdown]
# The next picture shows the first five test images.

# %%


def draw_predictions(numbers):
    """Draws test images by their numbers, each above the probabilities of the ten digits."""
    said = classifier.predict(test.images[numbers])
    figure = canvas.new_figure(9, 3.6)
    axes = figure.subplots(2, len(numbers), sharey="row", squeeze=False)
    figure.subplots_adjust(0.07, 0.14, 0.99, 0.9, hspace=0.08)
    axes[1, 0].set_ylabel("probability (%)")
    for i, number in enumerate(numbers):
        draw_prediction(*axes[:, i], number, said.labels[i], said.probabilities[i])
    return figure


show(draw_predictions([0, 1, 2, 3, 4]))

# %% [markdown]
# Next come the five mistakes of which the network was most certain. You can draw any other images
# in the same way, for example those whose numbers stand under the mistakes above:
# `show(draw_predictions([7, 42]))`.

# %%
said = classifier.predict(test.images)
certainty = said.probabilities.max(axis=1)
certainty[said.labels == test.labels] = 0.0  # correct predictions are no mistakes
show(draw_predictions(np.argsort(-certainty)[:5]))

# %% [markdown]
# ## 7. Checkpoints
#
# The network in section 6 came from the last checkpoint of the run. So a new evaluation of all test
# images must give the same accuracy as before, to the last bit.

# %%
again = classifier.evaluate("test")
print(f"checkpoint  step {again['checkpoint']}")
print(f"accuracy    {again['accuracy']:.2%}")
print(f"as before   {again['accuracy'] == result['test_accuracy']}")

# %% [markdown]
# Each checkpoint also holds the weights after the epoch with the best validation accuracy so far
# (`config.best` names the column). If the last epoch was the best one, the two lines are the same.

# %%
for name in ("latest", "best"):
    found = mnist_jax.load(RUN, checkpoint=name).evaluate(VAL_SPLIT)
    print(f"{name:6}  step {found['checkpoint']}  validation {found['accuracy']:.2%}")

# %% [markdown]
# Checkpoints are also the reason why a run is never lost. Start the same run again, and it resumes
# from the last checkpoint: after you stopped it, after a crash, or after Colab took the machine
# away (if `WORKDIR` is on a mounted drive). This run is finished, so nothing is trained, and the
# result is the same as before, including its timings:

# %%
repeated = mnist_jax.train(cnn, workdir=RUN)
print(f"nothing was trained: {repeated.result == result}")

# %% [markdown]
# ## 8. Which network is better?
#
# Train a network twice with different seeds, and you get two accuracies. So two networks have to be
# compared over several seeds each. A *sweep* does that: it trains every network with every seed,
# and networks that differ only in their seed share one compiled program. On a CPU, JAX in this
# notebook has a single device by default, so the networks train one after the other. The command
# `python -m mnist_jax.sweep`, which reads a sweep from a file, makes each core a device, so that
# networks train in parallel.

# %%
HIDDEN = {"no hidden layer": (), "32 units": (32,), "128 units": (128,), "128 + 32": (128, 32)}
SWEEP = WORKDIR / "sweep"

networks = {name: configuration(name="mlp", hidden=hidden) for name, hidden in HIDDEN.items()}
planned = members.Sweep(networks, seeds=SWEEP_SEEDS)
compared = mnist_jax.sweep(planned, workdir=SWEEP, num_epochs=SWEEP_EPOCHS)

# %% [markdown]
# `compared.summary` is a pandas data frame with one row per network. The columns that end in `_sd`
# are the standard deviations over the seeds.

# %%
overview = compared.summary.set_index("architecture")
accuracies = ["val_accuracy", "val_accuracy_sd", "test_accuracy", "test_accuracy_sd"]
overview[accuracies] = (100 * overview[accuracies]).round(2)  # in percent
display(overview[["parameters", *accuracies]])

# %%
display(Image(filename=SWEEP / "plots" / "ranking.png"))

# %% [markdown]
# What may we conclude? Trainings with the same seed see the images in the same order, so compare
# them seed by seed. `compared.table` has one row per training; the next cell makes it one per seed:

# %%
by_seed = 100 * compared.table.pivot(index="seed", columns="architecture", values="val_accuracy")
display(by_seed[list(HIDDEN)].round(2))

# %% [markdown]
# Now take the differences of two columns, their mean, and its standard error. A mean within two
# standard errors of zero may be chance. (With three seeds that is a rough rule; ten are better.)

# %%
from itertools import pairwise

for less, more in pairwise(HIDDEN):
    gain = by_seed[more] - by_seed[less]
    verdict = "clear" if abs(gain.mean()) > 2 * gain.sem() else "may be chance"
    change = f"from {less} to {more}"
    print(f"{change:33}  {gain.mean():+.2f} ± {gain.sem():.2f} points  {verdict}")

# %% [markdown]
# A hidden layer improves the accuracy, and so does a wider one. If the last line says *may be
# chance*, that does not prove that a second layer is useless: these few epochs and seeds cannot
# show its effect. More epochs or more seeds could: change the numbers in section 1 and run the
# cells again. The conclusions hold only for these networks and these images.
#
# ## 9. What next
#
# The paths are in the project's folder.
#
# | you want to | look at |
# | --- | --- |
# | read the report of your run | `report.html` in the folder `RUN`, and in `SWEEP` |
# | use the best network of the sweep | `mnist_jax.load(SWEEP, member="best")` |
# | train for longer | `mnist_jax.train("configs/cnn.py")` |
# | do that in a terminal | `python -m mnist_jax.main --config=configs/cnn.py` |
# | know what each configuration reaches | `README.md`, Results |
# | change any setting | `mnist_jax/config.py` defines and explains each one |
# | write your own network, layer by layer | `docs/models.md` |
# | write your own metric | `README.md`, Metrics of your own |
# | see the layers | `mnist_jax/models/layers.py` |
# | see the training loop | `mnist_jax/training/loop.py` |
# | see one step of it | `mnist_jax/training/step.py`, one pure function |
