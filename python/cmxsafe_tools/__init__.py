"""cmxsafe's tools for a maker's desk, on Windows, macOS and Linux. They have the same formats and results as the C program `cmxsafe`."""
__version__ = "0.1.0"
