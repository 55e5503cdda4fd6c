"""99 % in one epoch: two small convolutions, pooled first, batch norm, one cycle of a high rate.

python -m mnist_jax.main --config=configs/fast.py

Chosen on the validation split, trained on train[:55000]: batch norm, and then a rate that only it
allows, were worth most; kernels of 5 and further epochs were worth less than they cost. The recipe
is fixed, so it may then have all of train.

Measured: test accuracy 99.16 ± 0.07 %, loss 0.0756 ± 0.0012
(30 seeds, lowest 99.02 %); 6 s in all on CPU AMD EPYC, 2 cores,
jax 0.12.0.1, commit 07e3afa8e136.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 1
    config.data.train_split = "train"
    config.data.val_split = ""

    # Features in multiples of 8, the numbers that a vector unit holds.
    config.model = dict(
        name="cnn",
        features=(8, 16),
        pooling="max",
        pool_first=True,
        normalisation="batch",
        dense=(256,),
    )
    config.label_smoothing = 0.05

    config.optimizer = dict(name="adam", b2=0.95)
    config.schedule = dict(
        name="cosine_onecycle_schedule", transition_steps=1.0, peak_value=3e-2, pct_start=0.25
    )
    return config
