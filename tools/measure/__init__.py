"""What MLX really takes, beside what loader.memory estimates: `python -m tools.measure`.

Models of real widths and few layers (cases.yaml) are asked about images, each in a process of its own. A run
is one file under measurements/, and the table of docs/memory.md is made from all of them.
"""
