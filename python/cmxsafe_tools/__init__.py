"""cmxsafe's tools for a manufacturer's computer, on Windows, macOS and Linux. They use the same formats as the C program
`cmxsafe`, and give the same results."""
__version__ = "0.1.0"
