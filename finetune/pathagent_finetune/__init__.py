"""Training of the models behind the tools: corpora, recipes and resumable stages."""
