"""Let it act: the gateway that answers, the routes that say who answers what, and the way back.

A model that is good in a test is let near the world by degrees (shadow, canary, partial automation), each of them a
route that people put in force with a reason and can leave again at once. Start with ``route`` and ``transition``, which
decide purely, then ``line``, which acts; ``gateway`` serves them; the next room is ``andon.monitor``, which watches.
"""
