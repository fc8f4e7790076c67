"""Every file of the repository that is made from others: `python -m tools.generate [--check]`."""
