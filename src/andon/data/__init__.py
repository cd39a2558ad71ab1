"""What do we know? Data with a contract, frozen by content, split exactly and traced row by row.

A model is only as good as the rows behind it, so every row is typed by one contract (the same one the gateway
enforces), every version is named by a hash of its whole content, and every row left out keeps its reason. Start with
``andon.data.contract``; then ``source``, ``dataset``, ``split`` and ``lineage``; next room: ``andon.model``.
"""
