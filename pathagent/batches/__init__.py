"""Many cases, one after another or side by side: a manifest in, a folder of reports and one table out."""
