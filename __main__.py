"""``python -m nnaudit``.

The folder of the command line is called ``interfaces/`` and not ``nnaudit/``: a folder of that name in
the repository root would be found before the package itself when this runs from a checkout.
"""

from __future__ import annotations

from .interfaces.cli import main

if __name__ == "__main__":
    main()
