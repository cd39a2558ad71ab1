"""A real line on a fast clock: the stories that ``andon demo`` plays.

A story starts the processes of a line in a folder of its own, sends it real records at their real dates, lets people
(programs, called simulated) answer and says what happens, when and why; no figure in it is written down beforehand.
Start reading at ``screening``; ``stage`` is what every story stands on.
"""
