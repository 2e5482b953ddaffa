"""`python -m dsray` is `dsray`."""

from dsray.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
