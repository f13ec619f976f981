# Sourced by the other scripts: goes to the root of the repository, makes the virtual environment .venv there (or takes
# the active one) and defines `install`, which installs exactly the versions of constraints.txt.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -z "${VIRTUAL_ENV:-}" ]; then
  [ -x .venv/bin/pip ] || "${PYTHON:-python3}" -m venv .venv
  export VIRTUAL_ENV="$PWD/.venv" PATH="$PWD/.venv/bin:$PATH"
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
  echo "a C++20 compiler is needed: apt-get install g++, or xcode-select --install" >&2
  exit 1
fi
install() {
  python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip  # knows groups
  python -m pip install --quiet --constraint constraints.txt --build-constraint constraints.txt "$@"
}
