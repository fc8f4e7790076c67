# Sourced by the scripts beside it, which set `root`: sets `python` to the clone's own, or to the system's.
python="$root/.venv/bin/python"
[ -x "$python" ] || python=python3
"$python" -c '
import sys
from importlib.util import find_spec
needed = "PIL", "click", "huggingface_hub", "jinja2", "packaging", "pydantic", "yaml"
sys.exit(sys.version_info < (3, 11) or not all(map(find_spec, needed)))
' 2>/dev/null || {
  echo "${0##*/}: $python is not Python 3.11 or newer with the packages that this needs. Run \`make env\` in $root" \
    "once: it makes an environment in .venv, which is then used." >&2
  exit 2
}
