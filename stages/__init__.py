"""The pipeline's stages; each runs as `python -m stages.<word>`."""

import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
# An experiment that runs in a temporary copy of the repository must import the library of that copy.
sys.path.insert(0, str(HOME / "src"))
