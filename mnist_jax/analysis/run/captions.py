"""Lines of text below the images of galleries."""

from mnist_jax.analysis.run.evaluation import Predictions


def is_short(predictions: Predictions, length: int) -> bool:
    """True if no class has a name of more than `length` characters."""
    return max(map(len, predictions.class_names)) <= length


def classes(most: int, predictions: Predictions) -> str:
    """Says of how many classes there are images: `each class`, or `10 of 47 classes`."""
    among = len(predictions.class_names)
    return "each class" if among <= most else f"{most} of {among:,} classes"


def predicted(predictions: Predictions, example: int) -> str:
    """Returns the name of the class that is predicted for an image."""
    return predictions.class_names[predictions.predicted[example]]


def probability(predictions: Predictions, example: int) -> str:
    """Formats the probability of the class that is predicted for an image: `97.1 %`."""
    return f"{100 * predictions.confidence[example]:.1f} %"


def of_mistake(predictions: Predictions, example: int) -> list[str]:
    """Describes a mistake: true and predicted class, probability and index, in 2 or 3 lines.

    The number of lines is the same for all mistakes of a split, `mistake_lines`.
    """
    true = predictions.class_names[predictions.labels[example]]
    answer = f"→ {predicted(predictions, example)}"
    sure = f"{probability(predictions, example)}  #{example}"
    return [f"{true} {answer}", sure] if mistake_lines(predictions) == 2 else [true, answer, sure]


def mistake_lines(predictions: Predictions) -> int:
    """Returns the number of lines that describe a mistake: 2, or 3 if names are long."""
    return 2 if is_short(predictions, 3) else 3
