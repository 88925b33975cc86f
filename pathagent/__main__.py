"""`python -m pathagent`, and so `torchrun … -m pathagent`: the command line."""

from pathagent.cli import main

if __name__ == "__main__":
    main()
