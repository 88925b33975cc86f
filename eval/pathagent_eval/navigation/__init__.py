"""Does the agent find a small lesion sooner than simpler ways of looking do?"""
