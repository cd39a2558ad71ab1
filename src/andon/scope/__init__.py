"""What is the line for? The charter, the checklist behind it and the risks it faces.

One small file, ``andon.yaml``, is written first and checked in one go, because every later room takes its goals,
bounds, slices and policies from it and nothing is configured twice.
Read ``charter`` for its shape, ``checklist`` for what each answer configures, ``risk`` for what could go wrong; then
go on to ``andon.data``.
"""
