"""What do we believe? The user's code is trained, measured slice by slice, and sealed into a bundle.

It is its own room because a model is the one part that somebody else wrote: it is called at one boundary, stored in a
form that needs no trust where there is one, and believed only as far as its estimates go. Next room:
``andon.deploy``, which lets a sealed bundle act.
"""
