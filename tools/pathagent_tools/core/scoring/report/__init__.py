"""Facts in the text of a pathology report, read by rules and a vocabulary, and compared slot by slot.

>>> from pathagent_tools.core.scoring.report import compare, extract
>>> said = extract("Breast, core-needle biopsy; Invasive lobular carcinoma, grade II. No necrosis.")
>>> wanted = extract("Breast, core-needle biopsy; Invasive lobular carcinoma, grade III. No necrosis.")
>>> compare(said, wanted).contradictions
('grade grade: 2, not 3',)
"""

from pathagent_tools.core.scoring.report.compare import Comparison, Counts, compare
from pathagent_tools.core.scoring.report.extract import SLOTS, extract
from pathagent_tools.core.scoring.report.fact import Fact
from pathagent_tools.core.scoring.report.values import values

__all__ = ["SLOTS", "Comparison", "Counts", "Fact", "compare", "extract", "values"]
