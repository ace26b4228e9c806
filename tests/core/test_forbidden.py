# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""No committed file runs what another file holds, but for the places named here."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    # Weights whose bytes are known by hash, or whose author the user has said to trust.
    "diffpose_core/unsafe.py": {"torch.load"},
    # An unpickler of numpy arrays that calls nothing else.
    "diffpose_core/data/readers/pickles.py": {
        "pickle._Unpickler",
        "pickle._Unpickler.dispatch",
        "pickle.UnpicklingError",
    },
    # Files to be refused are written so.
    "tests/core/test_smpl.py": {"allow_pickle="},
    # The examples of README.md and docs/likelihoods.md, committed beside the tests.
    "tests/contract/test_readme.py": {"exec"},
    "tests/core/test_likelihood_docs.py": {"exec", "compile"},
}
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "jsonpickle"}
WRITING = {"dump", "dumps", "HIGHEST_PROTOCOL", "DEFAULT_PROTOCOL"} | {
    # Operations, as numbers.
    "REDUCE", "BUILD", "STRING", "SETITEM", "SETITEMS", "DICT",
}  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
CALLS = {
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "torch.export.load",
    "torch.serialization.load", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "yaml.full_load", "yaml.full_load_all", "yaml.Loader", "yaml.UnsafeLoader", "yaml.FullLoader", "os.system",
    "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pandas.read_pickle", "runpy.run_path",
    "runpy.run_module", "code.interact", "builtins.eval", "builtins.exec",
}  # fmt: skip
KEYWORDS = {"shell": False, "allow_pickle": False}
"""Keyword arguments that must be absent or this constant."""


def found(text: str) -> set[str]:
    """Return what a file does that is forbidden."""
    tree = ast.parse(text)
    modules = {}
    result = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                modules[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for name in node.names:
                modules[name.asname or name.name] = f"{node.module}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Name)) and (dotted := name_of(node, modules)):
            first, _, rest = dotted.partition(".")
            if dotted in CALLS or (first in PICKLES and rest and rest.partition(".")[0] not in WRITING):
                result.add(dotted)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BUILTINS and node.func.id not in modules:
                result.add(node.func.id)
            for keyword in node.keywords:
                wanted = KEYWORDS.get(keyword.arg or "", ...)
                if wanted is not ... and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is wanted
                ):
                    result.add(f"{keyword.arg}=")
    return result


def name_of(node: ast.expr, modules: dict[str, str]) -> str:
    """Return the dotted name of an imported thing; empty for anything else."""
    if isinstance(node, ast.Name):
        return modules.get(node.id, "")
    if isinstance(node, ast.Attribute) and (base := name_of(node.value, modules)):
        return f"{base}.{node.attr}"
    return ""


def test_no_committed_file_runs_what_another_holds():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    wrong = {}
    for name in listed.stdout.split():
        if extra := found((ROOT / name).read_text(encoding="utf-8")) - ALLOWED.get(name, set()):
            wrong[name] = extra
    assert wrong == {}


def test_the_named_places_do_what_they_are_named_for():
    for name, allowed in ALLOWED.items():
        assert found((ROOT / name).read_text(encoding="utf-8")) & allowed, name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import torch\ntorch.load(f)", {"torch.load"}),
        ("import torch as t\nt.load(f, weights_only=True)", {"torch.load"}),
        ("from torch import load\nload(f)", {"torch.load"}),
        ("from torch import load as x\nf = x", {"torch.load"}),
        ("import pickle\npickle.loads(b)", {"pickle.loads"}),
        ("from pickle import Unpickler\nUnpickler(f).load()", {"pickle.Unpickler"}),
        ("import marshal as m\nm.load(f)", {"marshal.load"}),
        ("import shelve\nshelve.open('x')", {"shelve.open"}),
        ("import joblib\njoblib.load(f)", {"joblib.load"}),
        ("import numpy as np\nnp.load(f, allow_pickle=True)", {"allow_pickle="}),
        ("np.load(f, allow_pickle=flag)", {"allow_pickle="}),
        ("np.load(f, allow_pickle=False)", set()),
        ("import yaml\nyaml.load(f, Loader=yaml.SafeLoader)", {"yaml.load"}),
        ("import yaml\nyaml.safe_load(f)", set()),
        ("model.eval()", set()),
        ("import ast\nast.literal_eval(t)", set()),
        ("eval(t)", {"eval"}),
        ("exec(t)", {"exec"}),
        ("import re\nre.compile(t)", set()),
        ("import os\nos.system(t)", {"os.system"}),
        ("import subprocess\nsubprocess.run(t, shell=True)", {"shell="}),
        ("import pickle\npickle.dumps(1)", set()),
    ],
)
def test_what_is_forbidden_is_found(text, words):
    assert found(text) == words
