"""How results name the machine that produced them."""

import pytest

from mnist_jax.training import provenance

CORE = "processor\t: {}\nmodel\t\t: 17\nmodel name\t: Abacus\ncpu family\t: 25\nflags\t\t: {}\n\n"


@pytest.mark.parametrize(
    ("flags", "words"),
    [("fpu avx avx2 avx512f", "AVX-512"), ("fpu avx avx2", "AVX2"), ("fpu avx", "AVX")],
)
def test_cpus_of_the_same_name_are_told_apart(flags, words, monkeypatch):
    text = "".join(CORE.format(number, flags) for number in range(2))
    monkeypatch.setattr(provenance.Path, "read_text", lambda path: text)
    assert provenance._cpu_model() == f"Abacus (family 25, model 17, {words})"


def test_a_system_that_tells_little_gives_a_name(monkeypatch):
    monkeypatch.setattr(provenance.Path, "read_text", lambda path: "processor : 0\n")
    monkeypatch.setattr(provenance.platform, "machine", lambda: "loom64")
    assert provenance._cpu_model() == "loom64"
