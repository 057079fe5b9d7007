"""What every part uses and no experiment is in: words, files, errors, the front door of commands."""
