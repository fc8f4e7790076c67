"""The documentation as a site: what MkDocs needs besides mkdocs.yml. `make docs` builds it."""
