"""The agents: one file each, plain functions from resources and state to an update of the state."""
