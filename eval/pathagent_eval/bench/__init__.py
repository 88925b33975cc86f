"""Benchmarks: what is asked, what a system said, and the scores of both beside their floors."""
