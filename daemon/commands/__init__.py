"""The daemon's subcommands of `lineside`, one file each, found by entry points."""
