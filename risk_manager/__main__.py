"""python -m risk_manager"""

import sys

from risk_manager.cli import main

if __name__ == "__main__":
    sys.exit(main())
