"""The pages of the board, one module per area: each exports ``PAGES`` and, where it has them, ``COMMANDS`` and ``RAWS``."""
