"""Every finding of every card in one run: what is wrong, where, and how to mend it.

findings.py   what a finding is        codes.yaml   every code, with its explanation
syntax.py     1xx  YAML and its traps  document.py  a card's text with its places
schema.py     2xx  the card's classes
meaning.py    3xx  what facts say of each other: names, facts, prompts, images, dimensions
goldens.py    4xx  prompts and images as upstream makes them      rows.py  reading them
online.py     5xx  the hub, only when asked       runtime.py  6xx  the backend, only when asked
fix.py        what can be mended without changing a fact
formats/      findings as text, JSON, SARIF, annotations
"""
