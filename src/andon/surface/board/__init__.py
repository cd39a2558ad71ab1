"""The board: every station of the line on a page, and the cord to stop it."""
