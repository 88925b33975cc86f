"""Words for models: one Markdown file a prompt, and the loader that checks them.

A prompt file has a YAML front matter (`version`, `variables`, `output`) and two sections,
`# System` and `# User`, in which `{{name}}` stands for a variable. Values are inserted as they are
and never interpreted again, so text from a slide, a note or a question stays data.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

_VARIABLE = re.compile(r"\{\{(\w+)\}\}")


class PromptError(ValueError):
    """A prompt file or a rendering of it is malformed."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A versioned prompt. `sha256` is the digest of the file's text and stands in every run."""

    name: str
    version: int
    variables: frozenset[str]
    output: str
    system: str
    user: str
    sha256: str

    def render(self, **values: str) -> tuple[str, str]:
        """(system, user) with every variable filled. PromptError when one is missing or unknown."""
        if values.keys() != self.variables:
            raise PromptError(
                f"prompt {self.name!r} takes {sorted(self.variables)}, was given {sorted(values)}"
            )

        def fill(template: str) -> str:
            return _VARIABLE.sub(lambda match: values[match[1]], template)

        return fill(self.system), fill(self.user)


def names() -> list[str]:
    """Names of all prompts that ship with the package."""
    return sorted(p.name[:-3] for p in files(__name__).iterdir() if p.name.endswith(".md"))


@cache
def load(name: str) -> Prompt:
    """Read and check one prompt. PromptError when the file contradicts its own front matter."""
    text = (files(__name__) / f"{name}.md").read_text(encoding="utf-8")
    try:
        _, front, body = text.split("---\n", 2)
        _, system, user = re.split(r"^# (?:System|User)\n", body, flags=re.MULTILINE)
    except ValueError:
        raise PromptError(f"prompt {name!r} needs a front matter, '# System' and '# User'") from None
    meta = yaml.safe_load(front)
    declared = frozenset(meta["variables"])
    used = frozenset(_VARIABLE.findall(body))
    if declared != used:
        raise PromptError(f"prompt {name!r} declares {sorted(declared)} but uses {sorted(used)}")
    return Prompt(
        name=name,
        version=int(meta["version"]),
        variables=declared,
        output=str(meta["output"]),
        system=system.strip(),
        user=user.strip(),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
