"""The page in the browser: its server, what may reach it, and what it shows."""
