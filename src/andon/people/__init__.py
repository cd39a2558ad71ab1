"""People in the line: who may do what, and the questions that only a person answers.

A line that automates badly does so because it forgot its people, so their work is leased, timed, blind where it must
be, decided once and audited like any model's. This room knows neither the store nor the engine: it meets them through
the Protocols of ``andon.core.port``. Next room: ``andon.deploy``, which sends it the cases.
"""
