"""The alert rules of docs/alerts.yml, by promtool, and the metrics that they name."""

import re
import subprocess
from pathlib import Path

from tests.metrics_documentation import registered

HERE = Path(__file__).parent
RULES = HERE.parents[2] / "docs/alerts.yml"


def _promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_there_are_five_valid_rules() -> None:
    assert "SUCCESS: 5 rules found" in _promtool("check", "rules", str(RULES))


def test_each_rule_fires_when_it_should_and_not_otherwise() -> None:
    assert "SUCCESS" in _promtool("test", "rules", str(HERE / "alerts_test.yml"))


def test_the_rules_name_metrics_that_exist() -> None:
    metrics = registered()
    names = {each.exposition_name for each in (*metrics, *metrics.families, *metrics.histograms)}

    named = set(re.findall(r"\bs3mount_\w+", RULES.read_text()))

    assert named
    assert named - names == set()
