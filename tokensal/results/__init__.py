"""Results are data, with one door to the package that draws and stores them."""
