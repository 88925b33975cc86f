"""What a draft is shown beside: written criteria and similar cases of the user's. Never evidence."""
