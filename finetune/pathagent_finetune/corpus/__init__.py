"""What the embedded VLM learns from: phantom tiles with their truth, and simulated cases."""
