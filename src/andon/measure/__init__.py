"""The one language of measurement: records become mergeable summaries, summaries become estimates, estimates meet bounds.

A metric is defined once and measured everywhere (test set, shadow, canary, production) and gives the same answer for a
minute, a month, one process or a cluster, because only summaries that add up are kept. Next room: ``andon.store``,
where records and summaries are remembered.
"""
