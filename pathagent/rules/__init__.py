"""Rules that no model can overrule: what H&E cannot show, and which elements a report must have."""
