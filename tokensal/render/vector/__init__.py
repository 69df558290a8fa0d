"""Vector figures: SVG, PDF and PNG from one set of shapes, whose places are decided once.

`geometry` turns a figure of the layout into shapes (`shapes`), measured in the fonts of the figure (`fonts`). `svg`
writes them itself; `pdf` and `png` let matplotlib draw them (`canvas`), which is the extra tokensal[figures].
"""
