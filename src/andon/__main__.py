"""``python -m andon`` is the ``andon`` command."""

from andon.surface.cli import main

if __name__ == "__main__":
    main()
