# Copyright 2026 the diffpose authors. Licensed under the Apache License, Version 2.0.
"""What the README shows is true."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()


def test_the_library_example_runs():
    names = {}
    exec(re.search(r"```python\n(.*?)```", README, re.S).group(1), names)
    post = names["post"]
    assert post.joints.shape == (1, 50, 17, 3)
    # A person four metres away, seen by good keypoints, is found there.
    error = (post.mean - names["pose"])[0]
    assert float(error[:, :2].norm(dim=-1).mean()) < 0.1
    assert abs(float(error[0, 2])) < 3 * float(post.covariance[0, 0, 2, 2]) ** 0.5


@pytest.mark.parametrize("document", ["README.md", *(f"docs/{p.name}" for p in (REPOSITORY / "docs").glob("*.md"))])
def test_every_link_and_picture_exists(document):
    path = REPOSITORY / document
    missing = []
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text()):
        file, _, section = link.partition("#")
        target = path.parent / file if file else path
        if "://" in link:
            continue
        if not target.exists() or (section and section not in sections(target)):
            missing.append(link)
    assert not missing


def sections(document):
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]


def test_the_readme_names_the_line_that_make_asks_for():
    apt = re.search(r"^APT := (.*)$", (REPOSITORY / "Makefile").read_text(), re.M).group(1)
    assert apt in README
