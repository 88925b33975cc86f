"""Options that several commands share, worded once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; all else goes to stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a filled output folder.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Same input, profile and seed: same report.")]
Mpp = Annotated[
    float | None,
    typer.Option("--mpp", help="µm per pixel at full resolution; wins over the slide's own metadata."),
]
MppCsv = Annotated[
    Path | None, typer.Option("--mpp-csv", help="CSV with columns wsi,mpp for slides without metadata.")
]
Profile = Annotated[
    str, typer.Option("--profile", help="Which models stand behind the tools (see: pathagent models list).")
]
VlmUrl = Annotated[
    str | None,
    typer.Option("--vlm-url", help="OpenAI-compatible server, for example http://localhost:8000/v1."),
]
VlmModel = Annotated[str | None, typer.Option("--vlm-model", help="Model name that the server lists.")]
Looks = Annotated[
    int | None, typer.Option("--looks", min=1, max=96, help="Most regions the model may look at.")
]
Tokens = Annotated[int | None, typer.Option("--tokens", min=1, help="Most tokens the model may spend.")]
Seconds = Annotated[float | None, typer.Option("--seconds", min=1, help="Time limit of the run.")]
Notes = Annotated[
    Path | None, typer.Option("--notes", help="Text file with history or earlier reports, quoted as such.")
]
Specimen = Annotated[
    str | None,
    typer.Option("--specimen", help="Specimen type, such as breast, whose required elements are listed."),
]
Knowledge = Annotated[
    Path | None,
    typer.Option("--knowledge", help="Folder of Markdown or text files to show the draft beside."),
]
CaseIndexFolder = Annotated[
    Path | None,
    typer.Option("--cases", help="Case index to show similar cases of (see: pathagent cases add)."),
]
Data = Annotated[
    Path | None, typer.Option("--data", help="Where the chat page keeps cases. Default: your data folder.")
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option("--database", help="postgresql://… ; default: a SQLite file in the data folder."),
]
