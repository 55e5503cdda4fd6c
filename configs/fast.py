"""A small convolutional network that reaches a test accuracy of 99 % in one epoch.

python -m mnist_jax.main --config=configs/fast.py

It has two convolutions with max pooling before batch norm, and one cycle of a high learning rate.
The recipe was chosen on the validation split, after training on train[:55000]. Batch norm, and then
the high learning rate that only batch norm allows, gained most; kernels of size 5 and more epochs
gained less than they cost. The recipe is fixed now, so it trains on all of train.

Measured: test accuracy 99.16 ± 0.07 %, loss 0.0753 ± 0.0015
(30 seeds, lowest 99.01 %); 8 s in total on CPU AMD EPYC (family 25, model 17, AVX-512), 2 cores,
jax 0.12.0.1, commit 2f5c79d234de.
"""

from mnist_jax.config import default


def get_config():
    config = default()
    config.num_epochs = 1
    config.data.train_split = "train"
    config.data.val_split = ""

    # Multiples of 8 features fill the vector units of a CPU.
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
