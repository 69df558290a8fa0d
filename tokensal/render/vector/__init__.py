"""Vector figures: SVG, PDF and PNG from one set of shapes, whose places are decided once.

`geometry` turns a figure of the layout into shapes (`shapes`), measured in the fonts of the figure (`fonts`). `svg`
writes them itself; `pdf` and `png` let matplotlib draw them (`canvas`), which is the extra tokensal[figures].
"""

import matplotlib

from tokensal.errors import InputError

if matplotlib.__version_info__ < (3, 11):  # since then it shapes text as browsers do
    raise InputError(
        f"Figures need matplotlib 3.11 or later, but {matplotlib.__version__} is installed: "
        "pip install 'tokensal[figures]'."
    )
