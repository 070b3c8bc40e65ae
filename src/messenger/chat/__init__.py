"""`messenger chat`: talking in the terminal. Needs the extra `chat`."""
