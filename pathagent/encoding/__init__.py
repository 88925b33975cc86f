"""Features of many slides into a folder that TRIDENT, CLAM and trainers read: inputs, states, summary."""
