"""README's example of a model of one's own, run as README says."""

import json
import re

from tests.commands import ROOT, bits, run


def test_own_model_trains_resumes_and_is_evaluated(tmp_path):
    section = (ROOT / "README.md").read_text().split("## Your own model")[1].split("\n## ")[0]
    files = re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", section, flags=re.S)
    assert [name for name, _ in files] == ["mine.py", "residual.py"]
    for name, text in files:
        (tmp_path / name).write_text(text)
    assert "python -m mnist_jax.main --config=residual.py" in section

    output = run("main", "--config=residual.py", cwd=tmp_path, devices=2).stdout
    assert re.search(r"norm +BatchNorm +128", output)
    workdir = tmp_path / "runs" / "residual"
    assert json.loads((workdir / "result.json").read_text())["test_accuracy"] > 0.96
    assert "blocks" not in bits(workdir)
    run("evaluate", "--workdir=runs/residual", cwd=tmp_path)
