"""Errors that say what was given, what is allowed, and what to type next.

`exit_code` is the process exit code of the command-line contract:
1 our fault, 2 the user's, 3 a batch in which some failed, 4 paused at a checkpoint.
`kind` is the reason in a word or two, as the table of a batch counts it.
"""

from __future__ import annotations


class PathAgentError(Exception):
    """Base of every error that the software raises on purpose."""

    exit_code = 1
    kind = "our fault"


class UserError(PathAgentError):
    """Bad input, arguments or missing weights. One sentence, and the next thing to type."""

    exit_code = 2
    kind = "bad input"


class SlideError(UserError):
    """A slide that cannot be opened, has no usable resolution, or cannot be decoded."""

    kind = "slide refused"


class MissingSlideError(SlideError):
    """There is no such file."""

    kind = "no such file"


class ResolutionError(SlideError):
    """A slide that does not say how large its pixels are, or says what cannot be."""

    kind = "no resolution"


class DamagedSlideError(SlideError):
    """A slide whose bytes cannot be decoded."""

    kind = "damaged"


class SlideTimeoutError(SlideError):
    """A slide whose decoding took too long and was stopped."""

    kind = "timeout"


class SlideMemoryError(SlideError):
    """A slide whose decoding needs more memory than it may have."""

    kind = "out of memory"


class UnknownModelError(UserError):
    """A server does not offer the model or the adapter that was asked for."""


class ContextExceededError(UserError):
    """A request is longer than the model's context."""


class ModelError(PathAgentError):
    """A model answered in a way that cannot be used (invalid JSON after one repair, wrong schema)."""

    kind = "model answer"


class ModelUnavailableError(PathAgentError):
    """A model server is absent or went away: the run pauses at its checkpoint (exit code 4)."""

    exit_code = 4
    kind = "model unavailable"


class ModelServerAbsentError(ModelUnavailableError):
    """Nothing answers at the address of the model server."""


class ModelServerGoneError(ModelUnavailableError):
    """A model server that answered before has died, or keeps failing."""


class ModelTimeoutError(ModelUnavailableError):
    """A model server takes requests and gives no answer in time."""


class BatchFailuresError(PathAgentError):
    """A batch finished and some of its slides failed."""

    exit_code = 3
