"""What a run leaves behind: one folder with the report as JSON, Markdown, a page, and QuPath regions."""

from pathagent.report.figures import Overview
from pathagent.report.folder import write_run

__all__ = ["Overview", "write_run"]
