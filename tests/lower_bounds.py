"""Print the lowest version of each dependency that pyproject.toml admits, extras included, as pip constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
extras = [requirement for group in project["optional-dependencies"].values() for requirement in group]
for requirement in [*project["dependencies"], *extras]:
    if found := re.fullmatch(r"([\w-]+)>=([\d.]+)", requirement):
        print(f"{found[1]}=={found[2]}")
