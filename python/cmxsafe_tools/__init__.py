"""cmxsafe's tools for a manufacturer's computer, on Windows, macOS and Linux. They have the same formats and results as the C program `cmxsafe`."""
__version__ = "0.1.0"
