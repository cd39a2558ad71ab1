"""The words every room shares: records, time, verdicts, names.

They are here so that rooms which must not know one another (people, store, engine) can meet through plain values and
Protocols. Nothing in this room touches a disk, a socket or a clock of its own, and it imports nothing else of Andon
but the errors. Next room: ``andon.measure``, the language of measurement.
"""
