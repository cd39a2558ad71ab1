"""Where work runs: processes of one machine today, a cluster when grown.

The rest of the house asks for replicas and never starts a process itself, so that a line can move to another engine
without a change elsewhere. Read ``port`` for what an engine must do, then ``local`` for how one machine does it.
"""
