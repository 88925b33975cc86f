"""A vLLM plugin: JSON under a schema is spaced as `json.dumps` spaces it, `, ` and `: `.

vLLM's `disable_any_whitespace` forbids every space, in-process decoding asks for those of `json.dumps`,
and a model trained on one spacing loses itself under the other. With this plugin both grammars are the
same. It acts only where VLLM_PLUGINS names it, as `pathagent serve vlm` does; it is loaded in each of
vLLM's processes.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Final

NAME: Final = "pathagent_spaced_json"


def register() -> None:
    """Make xgrammar's compiler ignore the separators that it is given. May be called again."""
    if NAME not in os.environ.get("VLLM_PLUGINS", "").split(","):
        return
    from xgrammar import GrammarCompiler

    given = GrammarCompiler.compile_json_schema
    if hasattr(given, "__wrapped__"):
        return

    @functools.wraps(given)
    def spaced(self: Any, schema: Any, **options: Any) -> Any:
        return given(self, schema, **{**options, "separators": None})

    GrammarCompiler.compile_json_schema = spaced
