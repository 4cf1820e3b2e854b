"""The suite that judges an implementation, and what it needs to run: plugin, harness, targets, reports, commands."""
