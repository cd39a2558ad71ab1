"""Andon: from an idea to a production line that watches itself.

See every station; stop the line; improve; go on.
"""

__version__ = "0.1.0"
